import type { Lane } from '../config/lanes.ts'
import { countedUsage, settledTokens, type TokenCount, tokenCountingOf } from '../providers/accounting.ts'
import type { ProviderAnswer } from '../providers/provider.ts'
import type { CallSource } from '../ratelimit/breaker.ts'
import type { CallTiming } from '../ratelimit/concurrency.ts'
import type { Cost, Gate } from '../ratelimit/gate.ts'
import type { ServiceTier } from '../ratelimit/lane-state.ts'
import type { ClaimedJob } from './claimed-job.ts'
import { judgeAnswer, pauseAfter } from './outcome.ts'
import { costOf, tenantOf } from './plan.ts'
import type { ProviderCall } from './provider-call.ts'
import { mayMove, toShut } from './sources.ts'

/**
 * Books what the provider counts, frees the permit, and tells the gate about the limits that the answer reported. Never
 * throws.
 */
export async function settleCall(
  deps: { gate: Pick<Gate, 'settle'>; onError: (error: unknown, what: string) => void },
  lane: Lane,
  permit: string,
  answer: ProviderAnswer,
  about: {
    taken: Cost
    call: ProviderCall
    timing: CallTiming | null
    isPatient: boolean
    tier: ServiceTier
  },
): Promise<void> {
  const { taken, timing, isPatient, tier } = about
  const { jobs: claimedJobs, tokens } = about.call
  // A request that never reached the provider does not count there. All others do.
  const sent = answer.ok || answer.status !== null || answer.ambiguous
  // For a call that was cut off or reports zeros, the estimate counts.
  const usage = answer.ok && answer.usage?.input_tokens !== 0 ? countedUsage(lane.kind, answer) : null
  const counted = settledTokens(lane.kind, estimateSent(tokens, taken, claimedJobs), usage, sent)
  const isLearned = usage !== null && tokenCountingOf(lane.kind) === 'auto'
  const throttled = !answer.ok && answer.class === 'throttled'
  try {
    await deps.gate.settle(lane, [
      {
        permit,
        actual: sent ? { requests: 1, ...counted, ...countedMedia(taken, answer) } : null,
        ...(isLearned ? { usedTokens: usage.input_tokens + usage.output_tokens } : {}),
        feedback: answer.feedback,
        outcome: judgeAnswer(answer, isPatient),
        source: sourceOf(claimedJobs),
        tier,
        ...(timing === null ? {} : { timing }),
        ...(throttled ? { throttledMs: pauseAfter(answer), throttledReason: answer.code } : {}),
        ...(mayMove(lane) ? toShut(answer) : {}),
      },
    ])
  } catch (error) {
    deps.onError(error, 'settling a permit') // its lease ends by itself
  }
}

/** The tenant, prompt and job of the call, for the breaker. */
function sourceOf(claimedJobs: readonly ClaimedJob[]): CallSource {
  const { hash, id } = claimedJobs[0]!.claimed
  return { tenant: tenantOf(claimedJobs.map((one) => one.held)), prompt: hash.slice(0, 16), job: id }
}

/** Pictures count as they were asked for. Sound counts as long as the answer says it is. */
function countedMedia(
  { images, audioSeconds }: Cost,
  answer: ProviderAnswer,
): Pick<Cost, 'images' | 'audioSeconds'> {
  const statedSeconds = answer.ok ? answer.usage?.audio_seconds : undefined
  return {
    ...(images === undefined ? {} : { images }),
    ...(audioSeconds === undefined ? {} : { audioSeconds: statedSeconds ?? audioSeconds }),
  }
}

/**
 * What a provider counts when a request arrives. For embeddings what is sent is known exactly; for others it is what
 * was taken for it.
 */
function estimateSent(tokens: number | null, taken: Cost, claimedJobs: ClaimedJob[]): TokenCount {
  if (tokens !== null) return { tokens, inputTokens: tokens, outputTokens: 0 }
  return taken.tokens > 0 ? taken : costOf(claimedJobs.map((one) => one.held))
}
