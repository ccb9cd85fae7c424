import { useEffect, useState } from 'preact/hooks'
import { useApp } from '../state/app.ts'
import type { Job } from '../wire.ts'

type MediaFile = { id: string; type: string }

/** The most pictures and sounds shown: nobody would look at more. */
const MOST_SHOWN = 12
const SHOWN = /^(?:image\/(?:png|jpeg|gif|webp)|audio\/[a-z0-9]+)$/

/** The pictures and the sound of a result, which names them by file ids. */
export function JobMedia({ job, tenant }: { job: Job; tenant: string | null }) {
  const files = listMedia(job.result).slice(0, MOST_SHOWN)
  if (files.length === 0) return null
  return (
    <section class="panel" aria-labelledby="media">
      <h2 id="media">Pictures and sound</h2>
      <div class="media">
        {files.map((file, at) => (
          <Media key={file.id} file={file} number={at + 1} tenant={tenant} />
        ))}
      </div>
    </section>
  )
}

/** Fetches the bytes, because a plain address in the page would not send the key. */
function Media({ file, number, tenant }: { file: MediaFile; number: number; tenant: string | null }) {
  const { api } = useApp()
  const [shown, setShown] = useState<{ url: string } | { failure: string } | null>(null)
  const { id, type } = file
  useEffect(() => {
    const leaving = new AbortController()
    let url: string | null = null
    api
      .open(`/v1/files/${encodeURIComponent(id)}/content`, { tenant, signal: leaving.signal })
      .then(({ response }) => response.arrayBuffer())
      .then(
        (bytes) => {
          if (leaving.signal.aborted) return
          url = URL.createObjectURL(new Blob([bytes], { type }))
          setShown({ url })
        },
        (error: Error) => leaving.signal.aborted || setShown({ failure: error.message }),
      )
    return () => {
      leaving.abort()
      if (url !== null) URL.revokeObjectURL(url)
    }
  }, [api, id, type, tenant])
  if (shown === null) return <p class="muted">Reading {id}</p>
  if ('failure' in shown) return <p class="muted">It cannot be shown: {shown.failure}</p>
  if (type.startsWith('image/')) return <img src={shown.url} alt={`Answer ${number}`} />
  // biome-ignore lint/a11y/useMediaCaption: no text is known for a sound that a model made
  return <audio controls src={shown.url} aria-label={`Answer ${number}`} />
}

function listMedia(result: Job['result']): MediaFile[] {
  const data = (result as { data?: unknown } | null)?.data
  return (Array.isArray(data) ? data : []).flatMap((entry: Record<string, unknown> | null) => {
    const { file_id: id, content_type: type } = entry ?? {}
    return typeof id === 'string' && typeof type === 'string' && SHOWN.test(type) ? [{ id, type }] : []
  })
}
