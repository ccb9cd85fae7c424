import { toTokens } from '../providers/count-tokens.ts'
import type { ProviderAnswer } from '../providers/provider.ts'
import type { CallTiming } from '../ratelimit/concurrency.ts'

/**
 * What a call tells about how much its server bears; null: nothing, as a refusal for its body or a connection that broke.
 *
 * @param call.firstTokenMs to the first chunk of a stream; null: there was none
 * @param call.receivedBytes of the answer's text so far, where it is streamed
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
