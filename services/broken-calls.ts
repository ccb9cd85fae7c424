import type { BrokenCall } from '../ratelimit/broken-calls.ts'
import type { EndedCall } from '../workers/ended-call.ts'
import type { MeteredDeps, openStore } from './store.ts'

/** Records the duration of each call and, if it failed, the reason: `GET /v1/lanes` shows both. */
export function noteCalls({ config }: MeteredDeps, store: ReturnType<typeof openStore>): void {
  store.emitter.on('call.ended', (call) => {
    store.latencies.record(call.lane, call.latencyMs)
    const broken = toBrokenCall(call, config.current().encryption.keys.length > 0)
    if (broken === null) return
    store.brokenCalls.record(call.lane, broken).catch((error) => store.onError(error, 'noting a broken call'))
  })
}

/**
 * A failed call, for operators; null for a call that did not fail.
 *
 * @param isEncrypted the provider's message may contain parts of a prompt, so it is not stored
 */
function toBrokenCall(call: EndedCall, isEncrypted: boolean): BrokenCall | null {
  const { answer, claimed, startedAt, latencyMs } = call
  if (answer.ok || (answer.class !== 'retryable' && answer.class !== 'timeout')) return null
  return {
    at: new Date(startedAt + latencyMs).toISOString(),
    status: answer.status,
    code: answer.code,
    message: isEncrypted ? null : answer.message,
    jobs: claimed.map(({ tenant, id }) => ({ tenant, id })),
  }
}
