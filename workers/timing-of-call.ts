import { toTokens } from '../providers/count-tokens.ts'
import type { ProviderAnswer } from '../providers/provider.ts'
import type { CallTiming } from '../ratelimit/concurrency.ts'

/**
 * What a call tells about the load that its server bears; null: nothing, for example after a refusal of its body or a
 * lost connection.
 *
 * @param call.firstTokenMs time to the first chunk of a stream, ms; null: there was no chunk
 * @param call.receivedBytes bytes of the answer's text so far, if it is streamed
 */
export function timingOf(
  answer: ProviderAnswer,
  { receivedBytes, ...times }: { latencyMs: number; firstTokenMs: number | null; receivedBytes: number },
): CallTiming | null {
  if (answer.ok) {
    const outputTokens = answer.usage?.output_tokens ?? toTokens(receivedBytes)
    return { ...times, outputTokens, overloaded: false }
  }
  const isBusy = answer.cause === 'overloaded' || answer.class === 'throttled' || answer.class === 'timeout'
  return isBusy ? { ...times, outputTokens: 0, overloaded: true } : null
}
