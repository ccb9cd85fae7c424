import type { Lane } from '../config/lanes.ts'

/** How often a server is asked, and how often one that does not tell, ms. */
const POLL_MS = 2000
const DEAF_MS = 300_000
const TIMEOUT_MS = 1000
const MOST_BYTES = 4 * 1024 * 1024

/** `vllm:num_requests_waiting{…} 3.0`: the labels and the number. */
const WAITING = /^vllm:num_requests_waiting(?:\{([^}\n]*)\})? +(\d+(?:\.\d+)?)/gm

/** How many requests wait inside servers of one's own, where they tell. */
export type ServerQueues = {
  /**
   * The requests that wait at the lane's server, read since the last call; null: nothing new is known. Never waits and never throws: it
   * asks the server beside, every two seconds at the most, or every five minutes where the server does not tell.
   */
  waiting(lane: Pick<Lane, 'provider' | 'model' | 'kind'>): number | null
}

type View = { text: string | null; askAt: number; readBy: Set<string> }

/**
 * Hears vLLM's metrics, which stand beside its API under `/metrics` and need no key: none is sent.
 *
 * @param baseUrlOf the `base_url` of a provider; null: it is not configured
 */
export function createServerQueues(
  baseUrlOf: (provider: string) => string | null,
  now: () => number = () => performance.now(),
): ServerQueues {
  const views = new Map<string, View>()

  async function ask(view: View, url: string): Promise<void> {
    view.askAt = Number.POSITIVE_INFINITY // while it is being asked
    const text = await readMetrics(url).catch(() => null)
    view.text = text
    view.readBy.clear()
    view.askAt = now() + (text === null ? DEAF_MS : POLL_MS)
  }

  return {
    waiting({ provider, model, kind }) {
      const baseUrl = kind === 'openai-compatible' ? baseUrlOf(provider) : null
      if (baseUrl === null) return null
      const url = metricsUrl(baseUrl)
      const view = views.get(url) ?? { text: null, askAt: 0, readBy: new Set() }
      views.set(url, view)
      if (now() >= view.askAt) void ask(view, url)
      if (view.text === null || view.readBy.has(model)) return null
      view.readBy.add(model)
      return countWaiting(view.text, model)
    },
  }
}

/** Of the model; of all models where none has its name, as of an adapter of a base model. Null: it does not say. */
export function countWaiting(metrics: string, model: string): number | null {
  const counts = [...metrics.matchAll(WAITING)].map(([, labels = '', count]) => ({
    isOwn: labels.includes(`model_name=${JSON.stringify(model)}`),
    count: Number(count),
  }))
  if (counts.length === 0) return null
  const own = counts.filter(({ isOwn }) => isOwn)
  return (own.length > 0 ? own : counts).reduce((sum, { count }) => sum + count, 0)
}

/** `http://gpu-1:8000/v1` has its metrics at `http://gpu-1:8000/metrics`. */
function metricsUrl(baseUrl: string): string {
  const url = new URL(baseUrl)
  url.username = ''
  url.password = ''
  url.search = ''
  url.pathname = `${url.pathname.replace(/\/+$/, '').replace(/\/v\d+$/, '')}/metrics`
  return url.href
}

/** @throws if there is no such answer in time */
async function readMetrics(url: string): Promise<string | null> {
  const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) })
  if (!response.ok || response.body === null) {
    await response.body?.cancel()
    return null
  }
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > MOST_BYTES) return null
  }
  return text.includes('vllm:num_requests_waiting') ? text : null
}
