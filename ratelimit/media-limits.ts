import { type Lane, type LaneLimits, listLimits } from '../config/lanes.ts'

/**
 * Lanes of images count images in the place of output tokens, and lanes of audio count seconds in the place of input tokens. No provider
 * counts images and output tokens, or seconds and input tokens, for one call, and another dimension would cost time in every call of
 * every lane. cross-checks.ts refuses a lane that limits both.
 */

/** The limit per minute in the place of input tokens. */
export function inputLimitOf(limits: LaneLimits): number | undefined {
  return limits.audio_seconds_per_minute ?? limits.input_tokens_per_minute
}

/** The limit per minute in the place of output tokens. */
export function outputLimitOf(limits: LaneLimits): number | undefined {
  return limits.images_per_minute ?? limits.output_tokens_per_minute
}

type Counted = { inputTokens: number; outputTokens: number; images?: number; audioSeconds?: number }

/** What a call takes, as its lane counts it. */
export function countMedia<Cost extends Counted>(
  lane: Pick<Lane, 'limits' | 'shared' | 'sources'>,
  cost: Cost,
): Cost {
  const all = [...listLimits(lane), ...(lane.sources ?? []).map((one) => one.limits)]
  const hears = all.some(({ audio_seconds_per_minute: limit }) => limit !== undefined)
  const paints = all.some(({ images_per_minute: limit }) => limit !== undefined)
  if (!hears && !paints) return cost
  return {
    ...cost,
    ...(hears ? { inputTokens: cost.audioSeconds ?? 0 } : {}),
    ...(paints ? { outputTokens: cost.images ?? 0 } : {}),
  }
}
