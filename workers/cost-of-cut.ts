import type { Lane } from '../config/lanes.ts'
import type { AttemptEnd } from '../jobs/finish.ts'
import type { JobCost } from '../jobs/jobs.ts'
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
  /** The usage that its stream reported; null: none. */
  stated: Usage | null
  /** Output tokens that came, estimated. */
  received: number
  /** Whether its answer came in pieces. */
  streams: boolean
}

type CutCost = Pick<
  AttemptEnd,
  'usage' | 'usage_is_estimate' | 'cost_usd' | 'cost_is_estimate' | 'is_unpriced'
>

/**
 * The cost of a call without a result for each of its jobs. A call that was not sent, or was refused before any of its answer
 * came, costs nothing. A call that was sent and cut off costs the usage that its stream reported, else its input and the output
 * received. A call for an answer in one piece costs the reserved amount: nothing has arrived, but the provider may have written
 * all of it. Pictures and spoken answers are so too where they are streamed, for what comes of them says nothing of the rest; pictures and seconds
 * count as they were asked for.
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
