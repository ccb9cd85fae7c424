import type { Api } from '../api.ts'
import { type Following, follow } from './follow.ts'
import { toQuery } from './route.ts'

/** The shortest time between two notifications, ms. */
const EVERY_MS = 500

/** The server sends a comment every 15 s on a silent stream. */
const SILENCE_MS = 40_000

/**
 * Notifies when something happened to a tenant's jobs: at once, then at most twice a second. It reconnects by itself. Returns a
 * function that stops it.
 *
 * @param filter parameters of `GET /v1/events`
 */
export function followNews(
  deps: { api: Api; tenant: string; now(): number; random(): number },
  filter: { group?: string; lane?: string },
  onNews: () => void,
): () => void {
  const { api, tenant, now, random } = deps
  let timer: ReturnType<typeof setTimeout> | undefined
  let isNews = false

  function tell(): void {
    isNews = true
    if (timer !== undefined) return
    isNews = false
    onNews()
    timer = setTimeout(() => {
      timer = undefined
      if (isNews) tell()
    }, EVERY_MS)
  }

  const path = `/v1/events${toQuery({ ...filter, last_event_id: 'now' })}`
  let following: Following | null = null
  // Browsers allow only six connections to one host, so a hidden page closes its own.
  function look(): void {
    if (document.hidden) {
      following?.stop()
      following = null
    } else if (following === null) {
      following = follow({
        open: (lastEventId, signal) => api.open(path, { tenant, lastEventId, signal, silenceMs: SILENCE_MS }),
        onEvents: tell,
        onState() {},
        now,
        random,
      })
    }
  }
  const onSight = () => {
    look()
    if (!document.hidden) tell()
  }
  look()
  document.addEventListener('visibilitychange', onSight)
  return () => {
    document.removeEventListener('visibilitychange', onSight)
    following?.stop()
    clearTimeout(timer)
  }
}
