import type { BrokenCall } from '../ratelimit/broken-calls.ts'
import type { EndedCall } from '../workers/execute.ts'

/**
 * A call that broke, for operators; null for one that did not.
 *
 * @param isEncrypted what the provider said may hold parts of a prompt, and stays out of the store then
 */
export function toBrokenCall(call: EndedCall, isEncrypted: boolean): BrokenCall | null {
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
