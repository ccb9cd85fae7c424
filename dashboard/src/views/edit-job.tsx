import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Dialog } from '../components/dialog.tsx'
import { useApp } from '../state/app.ts'
import { toQuery } from '../state/query.ts'
import { linkToJob } from '../state/route.ts'
import type { Job, List } from '../wire.ts'

/** The metadata name under which an edited job refers to its original. */
const EDITED_FROM = 'edited_from'

/** Lets you edit a job's request and send it as a new job. */
export function EditJobDialog(props: { job: Job; tenant: string | null; onClose: () => void }) {
  const { job, tenant, onClose } = props
  const app = useApp()
  const [text, setText] = useState<string | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  useEffect(() => {
    const path = `/v1/jobs/${encodeURIComponent(job.id)}/request`
    app.api.json<{ body: object }>(path, { tenant }).then(
      ({ body }) => setText(JSON.stringify(toCreate(job, body), null, 2)),
      (error: unknown) => setFailure(explain(error)),
    )
  }, [])
  const send = async () => {
    const created = await app.api.json<Job>('/v1/jobs', { method: 'POST', tenant, body: parse(text!) })
    app.notify('good', 'It is sent as a new job.')
    location.hash = linkToJob(created.id, tenant)
  }
  return (
    <Dialog
      title="Edit and send again?"
      action="Send as a new job"
      isWide
      isReady={text !== null}
      onConfirm={send}
      onClose={onClose}
    >
      <p class="muted">
        This job stays as it is. The metadata of the new job refers to it. The new job is paid for separately.
      </p>
      {failure === null ? null : (
        <p role="alert" class="failure">
          {failure}
        </p>
      )}
      <label>
        Request
        <textarea
          class="code"
          rows={18}
          spellcheck={false}
          value={text ?? 'Asking the server…'}
          disabled={text === null}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
    </Dialog>
  )
}

/** The body for `POST /v1/jobs` that repeats the job. Times in the past are left out. */
function toCreate(job: Job, body: object): object {
  const { type, priority, group, tier, max_attempts, metadata } = job
  return {
    type,
    body,
    priority,
    ...(group === null ? {} : { group }),
    ...(tier === 'standard' ? {} : { tier }),
    max_attempts,
    metadata: { ...metadata, [EDITED_FROM]: job.id },
  }
}

/** Parses JSON. Throws the browser's message, which says what is wrong and where. */
function parse(text: string): object {
  try {
    return JSON.parse(text) as object
  } catch (error) {
    throw new Error(`This is no JSON: ${(error as Error).message}`)
  }
}

/** Links to the job that this one was edited from, and to those that were edited from it. */
export function EditLinks({ job, tenant }: { job: Job; tenant: string | null }) {
  const { api } = useApp()
  const [later, setLater] = useState<Job[]>([])
  const isOver = job.finished_at !== null
  useEffect(() => {
    if (!isOver) return
    const leaving = new AbortController()
    const query = toQuery({ [`metadata.${EDITED_FROM}`]: job.id, created_after: job.created_at, limit: '20' })
    api.json<List<Job>>(`/v1/jobs${query}`, { tenant, signal: leaving.signal }).then(
      ({ data }) => setLater(data),
      () => {},
    )
    return () => leaving.abort()
  }, [job.id, isOver])
  const from = job.metadata[EDITED_FROM]
  if (from === undefined && later.length === 0) return null
  const link = (id: string) => (
    <a class="mono" href={linkToJob(id, tenant)}>
      {id}
    </a>
  )
  return (
    <p class="why info breakable">
      {from === undefined ? null : <>Edited from {link(from)}. </>}
      {later.length === 0 ? null : (
        <>
          Edited and sent again as{' '}
          {later.map(({ id }, index) => (
            <span key={id}>
              {index > 0 ? ', ' : ''}
              {link(id)}
            </span>
          ))}
          .
        </>
      )}
    </p>
  )
}
