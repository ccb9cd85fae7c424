import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { useApp } from './app.ts'

/** An answer of the server: null until it is there; what went wrong the last time, if anything did. */
export type Read<Body> = { body: Body | null; failure: string | null }

/**
 * Reads a path again and again while the page is looked at. A failure keeps the answer before it.
 *
 * @param tenant as whom; the key's own tenant unless given
 */
export function useRead<Body>(path: string, everyMs: number, tenant: string | null = null): Read<Body> {
  const { api } = useApp()
  const [read, setRead] = useState<Read<Body>>({ body: null, failure: null })

  useEffect(() => {
    const leaving = new AbortController()
    const { signal } = leaving
    let timer: ReturnType<typeof setTimeout> | undefined
    const look = async () => {
      try {
        if (!document.hidden) {
          const body = await api.json<Body>(path, { signal, tenant })
          if (!signal.aborted) setRead({ body, failure: null })
        }
      } catch (error) {
        if (signal.aborted) return
        setRead((before) => ({ ...before, failure: explain(error) }))
      }
      if (!signal.aborted) timer = setTimeout(look, everyMs)
    }
    look()
    return () => {
      leaving.abort()
      clearTimeout(timer)
    }
  }, [path, everyMs, tenant])

  return read
}
