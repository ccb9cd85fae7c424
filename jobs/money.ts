import type { JobCost, NewJob } from './jobs.ts'

/** USD a million tokens, and how long answers may be, as a lane says it. */
export type LanePrice = {
  id: string
  price: { input: number; output: number }
  /** The most output tokens that an answer of the model has. */
  max_output_tokens?: number
  /** The cap of requests that set none, where the provider demands one. */
  default_max_tokens?: number
}

/** What a call is expected to cost before it is made. */
export type MoneyEstimate = Pick<NewJob, 'estimateUsd' | 'openOutput'>

/**
 * Expected output tokens of an answer without a cap before any are known. A usual chat stays below it. Longer lengths are
 * learned from the first answers.
 */
const UNLEARNED_OUTPUT_TOKENS = 1024

/** As in common.lua: no call costs more, billionths of a dollar. */
const MOST_NANO = 5e12

/**
 * Estimates the highest cost of a call: its input, and as many output tokens as its request allows for each of its
 * choices. Without a cap the store prices the output, because it knows how long answers are.
 *
 * The gate uses another estimate: most providers do not count the cap against their limits.
 */
export function estimateMoney(lane: LanePrice, cost: JobCost): MoneyEstimate {
  const { price, max_output_tokens: most } = lane
  const choices = cost.choices ?? 1
  const asked = cost.outputCap === undefined ? cost.outputTokens / choices : cost.outputCap
  const cap = asked ?? lane.default_max_tokens ?? null
  const input = (cost.inputTokens * price.input) / 1e6
  if (cap === null) {
    if (price.output === 0) return { estimateUsd: input }
    const unlearned = most ?? UNLEARNED_OUTPUT_TOKENS
    return {
      estimateUsd: input,
      openOutput: { usdPerToken: price.output / 1e6, unlearned, most: most ?? null, choices },
    }
  }
  const output = Math.min(cap, most ?? cap) * choices
  return { estimateUsd: input + (output * price.output) / 1e6 }
}

/** The estimate as scripts read it (`read_estimate` in common.lua). */
export function encodeEstimate(lane: string, { estimateUsd, openOutput }: MoneyEstimate): string {
  const fixed = String(toNano(estimateUsd))
  if (openOutput === undefined) return fixed
  const { usdPerToken, unlearned, most, choices } = openOutput
  const rate = Number((usdPerToken * 1e9).toPrecision(15))
  return `${fixed} ${rate} ${unlearned} ${most ?? 0} ${choices} ${lane}`
}

/** Whole billionths of a dollar, rounded up; what floats add is not. */
function toNano(usd: number): number {
  return Math.min(MOST_NANO, Math.max(0, Math.ceil(usd * 1e9 - 1e-6)))
}
