import { type Price, type Rates, ratesFor } from '../lib/price.ts'
import type { JobCost } from './job-cost.ts'
import type { NewJob } from './new-job.ts'

/** What the calls of a lane cost, and how long its answers may be. */
export type LanePrice = {
  id: string
  /** Null: the price is not known, and nothing is reserved. */
  price: Price | null
  /** The most output tokens that an answer of the model has. */
  max_output_tokens?: number
  /** The cap for requests that set none, if the provider demands one. */
  default_max_tokens?: number
}

/** What a call is expected to cost before it is made. */
export type MoneyEstimate = Pick<NewJob, 'estimateUsd' | 'openOutput'>

/**
 * Expected output tokens of an answer without a cap, before any lengths are known. A usual chat stays below it. Longer
 * lengths are learned from the first answers.
 */
const UNLEARNED_OUTPUT_TOKENS = 1024

/** A provider may count this many times the estimated tokens. A price step that is this near may apply. */
const STEP_MARGIN = 1.25

/** No call costs more, billionths of a USD. It must be the same as in common.lua. */
const MOST_NANO = 5e12

/**
 * Estimates the highest cost of a call: its input, and as many output tokens as its request allows for each of its
 * choices. Without a cap the store prices the output, because it knows how long answers are.
 *
 * Every token is priced at the highest rate that could apply: that of a long input, of writes to a prompt cache, or of
 * audio. It is always the standard tier's rate, because a job of a cheaper tier may fall back to standard.
 *
 * The gate uses another estimate, because most providers do not count the cap against their limits.
 */
export function estimateMoney(lane: LanePrice, cost: JobCost): MoneyEstimate {
  const { max_output_tokens: most } = lane
  if (lane.price === null) return { estimateUsd: 0 }
  const price = highestRates(lane.price, cost)
  const choices = cost.choices ?? 1
  const asked = cost.outputCap === undefined ? cost.outputTokens / choices : cost.outputCap
  const cap = asked ?? lane.default_max_tokens ?? null
  const input =
    (cost.inputTokens * price.input) / 1e6 +
    (lane.price.request ?? 0) +
    (cost.images ?? 0) * (lane.price.image ?? 0) +
    (cost.audioSeconds ?? 0) * (lane.price.audio_second ?? 0)
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

/** USD per million tokens of input and of output. */
function highestRates(
  price: Price,
  { inputTokens, dearRates = [] }: JobCost,
): { input: number; output: number } {
  const both = [ratesFor(price, inputTokens), ratesFor(price, Math.ceil(inputTokens * STEP_MARGIN))]
  const highest = (names: readonly (keyof Rates)[]) =>
    Math.max(...both.flatMap((rates) => names.map((name) => rates[name])))
  const hasAudio = dearRates.includes('audio')
  return {
    input: highest([
      'input',
      ...dearRates.filter((name) => name !== 'audio'),
      ...(hasAudio ? (['audio_input'] as const) : []),
    ]),
    output: highest(['output', ...(hasAudio ? (['audio_output'] as const) : [])]),
  }
}

/** The estimate in the form that scripts read (`read_estimate` in common.lua). */
export function encodeEstimate(lane: string, { estimateUsd, openOutput }: MoneyEstimate): string {
  const fixed = String(toNano(estimateUsd))
  if (openOutput === undefined) return fixed
  const { usdPerToken, unlearned, most, choices } = openOutput
  const rate = Number((usdPerToken * 1e9).toPrecision(15))
  return `${fixed} ${rate} ${unlearned} ${most ?? 0} ${choices} ${lane}`
}

/** Whole billionths of a USD, rounded up. Errors of floating-point numbers are not rounded up. */
function toNano(usd: number): number {
  return Math.min(MOST_NANO, Math.max(0, Math.ceil(usd * 1e9 - 1e-6)))
}
