import type { BrokenCall } from '../ratelimit/broken-calls.ts'
import type { EndedCall } from '../workers/ended-call.ts'
import type { MeteredDeps, openStore } from './store.ts'

/** Notes of each call how long it took and, where it broke, by what: `GET /v1/lanes` shows both. */
export function noteCalls({ config }: MeteredDeps, store: ReturnType<typeof openStore>): void {
  store.emitter.on('call.ended', (call) => {
    store.latencies.record(call.lane, call.latencyMs)
    const broken = toBrokenCall(call, config.current().encryption.keys.length > 0)
    if (broken === null) return
    store.brokenCalls.record(call.lane, broken).catch((error) => store.onError(error, 'noting a broken call'))
  })
}

/**
 * A call that broke, for operators; null for one that did not.
 *
 * @param isEncrypted what the provider said may hold parts of a prompt, and stays out of the store then
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
