import type { Api } from '../api.ts'
import { type Following, follow } from './follow.ts'
import { toQuery } from './route.ts'

/** Between two words of news, ms. */
const EVERY_MS = 500

/** Events of a silent tenant are comments every 15 s. */
const SILENCE_MS = 40_000

/**
 * Says when something happened to jobs of a tenant, at once and then at most twice a second, over connections that break. Answers what ends
 * it.
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
  // Browsers hold only six connections to one host: a page that nobody looks at takes none.
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
