import type { Lane } from '../config/lanes.ts'

/** How often a server is polled, and how often one that has no such metrics, ms. */
const POLL_MS = 2000
const SILENT_POLL_MS = 300_000
const TIMEOUT_MS = 1000
const MAX_BYTES = 4 * 1024 * 1024

/** Matches `vllm:num_requests_waiting{…} 3.0`: the labels and the number. */
const WAITING = /^vllm:num_requests_waiting(?:\{([^}\n]*)\})? +(\d+(?:\.\d+)?)/gm

/** How many requests wait in self-hosted servers, where these report it. */
export type ServerQueues = {
  /**
   * Returns the number of requests waiting at the lane's server, if it was read since the last call; null: nothing new. Never waits and
   * never throws. It polls in the background: at most every two seconds, or every five minutes where the server has no such metrics.
   */
  waiting(lane: Pick<Lane, 'provider' | 'model' | 'kind'>): number | null
}

type View = { text: string | null; askAt: number; readBy: Set<string> }

/**
 * Reads vLLM's metrics, at `/metrics` beside its API. They need no key, and none is sent.
 *
 * @param baseUrlOf the `base_url` of a provider; null: it is not configured
 */
export function createServerQueues(
  baseUrlOf: (provider: string) => string | null,
  now: () => number = () => performance.now(),
): ServerQueues {
  const views = new Map<string, View>()

  async function ask(view: View, url: string): Promise<void> {
    view.askAt = Number.POSITIVE_INFINITY // while a request is under way
    const text = await readMetrics(url).catch(() => null)
    view.text = text
    view.readBy.clear()
    view.askAt = now() + (text === null ? SILENT_POLL_MS : POLL_MS)
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

/** The count of the model. Where no series has its name (adapters of a base model), the sum of all. Null: not reported. */
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

/** @throws when the request fails or times out */
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
    if (text.length > MAX_BYTES) return null
  }
  return text.includes('vllm:num_requests_waiting') ? text : null
}
