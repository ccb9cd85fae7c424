import type { Upstream } from './upstream.ts'
import { grantOf, LIMITS, makeCalls } from './workload.ts'

export type SecondClient = {
  /** Sends no more; resolves when the last call has ended. */
  stop(): Promise<{ sent: number; refused: number }>
}

/**
 * Another client with the same key that does not know about us: calls at an even pace, and refused ones are not
 * repeated.
 */
export function startSecondClient(upstream: Upstream, model: string, share: number): SecondClient {
  const pauseMs = 1000 / (grantOf(LIMITS, 1).requests * share)
  const calls = makeCalls('someone else', 2000)
  const startedAt = performance.now()
  const sent: Promise<number>[] = []
  const timer = setInterval(() => {
    while (sent.length * pauseMs < performance.now() - startedAt)
      sent.push(upstream.send(model, calls[sent.length % calls.length]!))
  }, 5)
  return {
    async stop() {
      clearInterval(timer)
      const statuses = await Promise.all(sent)
      return { sent: statuses.length, refused: statuses.filter((status) => status === 429).length }
    },
  }
}
