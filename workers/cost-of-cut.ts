import type { Lane } from '../config/lanes.ts'
import type { AttemptEnd } from '../jobs/finish.ts'
import type { JobCost } from '../jobs/job-cost.ts'
import type { JsonObject } from '../lib/json.ts'
import type { Usage } from '../lib/usage.ts'
import { priceUsage } from '../providers/accounting.ts'
import { makesImages } from '../providers/endpoints.ts'
import type { ProviderFailure } from '../providers/provider.ts'
import { usageOfCut } from '../providers/read-usage.ts'
import { splitByWeight } from '../providers/split-by-weight.ts'
import type { ClaimedJob } from './claimed-job.ts'

/** What is known about a call without a result. */
export type CutCall = {
  failure: ProviderFailure
  /** What was sent. */
  body: JsonObject
  /** The usage that the stream reported; null: none. */
  stated: Usage | null
  /** Output tokens that arrived, estimated. */
  received: number
  /** Whether its answer came in pieces. */
  streams: boolean
}

type CutCost = Pick<
  AttemptEnd,
  'usage' | 'usage_is_estimate' | 'cost_usd' | 'cost_is_estimate' | 'is_unpriced'
>

/**
 * What a call without a result costs each of its jobs. Examples:
 * - A call that was not sent, or was refused before any of its answer came, costs nothing.
 * - A streamed call that was cut off costs the usage that its stream reported. Without such a report it costs its input
 *   and the output received.
 * - A call for an answer in one piece costs at least the reserved amount if it was given up without a report. Nothing
 *   has arrived, but the provider may have written all of it.
 * - Pictures and spoken answers count as answers in one piece even if they are streamed, because the part that arrived
 *   says nothing about the rest. Pictures and seconds count as they were asked for.
 */
export function costOfCut(lane: Lane, claimedJobs: readonly ClaimedJob[], call: CutCall): CutCost[] {
  const { failure, stated } = call
  const isPaid = failure.ambiguous || (stated !== null && stated.input_tokens + stated.output_tokens > 0)
  if (!isPaid) return claimedJobs.map(() => ({}))
  const { type } = claimedJobs[0]!.claimed
  const { usage } = usageOfCut(type, call.body, stated, call.received)
  const weights = claimedJobs.map(({ claimed }) => Math.max(1, claimed.cost.inputTokens))
  const inputs = splitByWeight(usage.input_tokens, weights)
  const isWhole = !call.streams || makesImages(type) || type === 'speech'
  const isGivenUp = failure.class === 'timeout' || failure.class === 'aborted'
  return claimedJobs.map(({ claimed }, index) => {
    const input = inputs[index]!
    // Only embeddings share requests, and they have no output.
    const output = claimedJobs.length === 1 ? usage.output_tokens : 0
    const used: Usage =
      claimedJobs.length === 1
        ? { ...mediaOf(claimed.cost), ...usage }
        : { input_tokens: input, output_tokens: output, total_tokens: input + output }
    const known = lane.price === null ? null : priceUsage(lane.price, used)
    const reserved = isGivenUp && isWhole && stated === null ? (claimed.reservedUsd ?? 0) : 0
    return {
      usage: used,
      usage_is_estimate: true,
      ...(known === null
        ? { is_unpriced: true as const }
        : { cost_usd: Math.max(known, reserved), cost_is_estimate: true }),
    }
  })
}

/** Pictures and seconds of sound that the request asked for. */
function mediaOf({ images, audioSeconds }: JobCost): Pick<Usage, 'images' | 'audio_seconds'> {
  return {
    ...(images ? { images } : {}),
    ...(audioSeconds ? { audio_seconds: audioSeconds } : {}),
  }
}
