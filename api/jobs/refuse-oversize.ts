import { type Lane, type LaneLimits, listBounds } from '../../config/lanes.ts'
import type { JobCost } from '../../jobs/job-cost.ts'
import { ApiError } from '../errors.ts'

/** Refuses a request that exceeds what its lane, or a shared limit, admits in a whole window: it would wait for ever. */
export function refuseOversize(lane: Lane, cost: JobCost): void {
  const { anyOf, allOf } = listBounds(lane)
  if (!anyOf.some((limits) => findExcess(limits, cost) === null)) refuseAbove(lane.id, widest(anyOf), cost)
  for (const { name, limits } of allOf)
    refuseAbove(`the shared limit ${name} of ${lane.provider}`, limits, cost)
}

/** The source that admits most in one window, for the error message. */
function widest(all: readonly LaneLimits[]): LaneLimits {
  const tokensOf = ({ tokens_per_minute, input_tokens_per_minute, window }: LaneLimits) =>
    ((tokens_per_minute ?? input_tokens_per_minute ?? 0) * window) / 60_000
  return all.reduce((best, one) => (tokensOf(one) > tokensOf(best) ? one : best))
}

function refuseAbove(whose: string, limits: LaneLimits, cost: JobCost): void {
  const excess = findExcess(limits, cost)
  if (excess === null) return
  throw new ApiError(
    'exceeds_limit',
    `body: needs about ${excess.needed} ${excess.name}, and ${whose} admits ${excess.capacity} in ${limits.window / 1000} s`,
    { param: 'body' },
  )
}

/** The part of a cost that never fits into a window; null: all of it fits. */
function findExcess(
  limits: LaneLimits,
  cost: JobCost,
): { name: string; needed: number; capacity: number } | null {
  const windowsPerMinute = 60_000 / limits.window
  const checks = [
    ['tokens', cost.tokens, limits.tokens_per_minute],
    ['input tokens', cost.inputTokens, limits.input_tokens_per_minute],
    ['output tokens', cost.outputTokens, limits.output_tokens_per_minute],
    ['images', cost.images ?? 0, limits.images_per_minute],
    ['seconds of audio', cost.audioSeconds ?? 0, limits.audio_seconds_per_minute],
  ] as const
  for (const [name, needed, perMinute] of checks) {
    if (perMinute === undefined || needed <= perMinute / windowsPerMinute) continue
    return { name, needed, capacity: Math.floor(perMinute / windowsPerMinute) }
  }
  return null
}
