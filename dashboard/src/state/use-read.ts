import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { useApp } from './app.ts'

/** The latest answer, null until there is one; and the error of the last read, null if it succeeded. */
export type Read<Body> = { body: Body | null; failure: string | null }

/**
 * Reads a path, and repeats this while the page is visible. After a failure the earlier answer stays.
 *
 * @param tenant the tenant to act as; the key's own by default
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
