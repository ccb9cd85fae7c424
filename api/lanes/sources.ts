import type { Lane } from '../../config/lanes.ts'
import type { LaneState } from '../../ratelimit/lane-state.ts'
import {
  type CountedRates,
  computeUtilisation,
  type LimitsView,
  showLimits,
  toCounted,
} from './shared-limits.ts'
import { showTiers, type TierView } from './tiers.ts'

/** One of the sources of a lane. */
export type SourceView = {
  name: string
  weight: number
  /** The name of the model at this source. */
  model: string
  limits: LimitsView
  learned: { requests: number | null; tokens: number | null; concurrency: number | null }
  rates: CountedRates
  speed: number
  levels: CountedRates
  utilisation: number
  used: CountedRates
  in_flight: number
  paused_until: string | null
  paused_reason: string | null
  /** The provider refused this source. After `until`, one call at a time tries it again. */
  shut: { until: string; reason: string } | null
  breaker: { state: 'closed' | 'open' | 'half_open' }
  tiers: TierView[]
  throttled: number
}

export function showSources({ sources = [] }: Lane, state: LaneState): SourceView[] {
  return sources.map(({ name, weight, model, limits }, index) => {
    const bucket = state.sources[index]!
    return {
      name,
      weight,
      model,
      limits: showLimits(limits, bucket.learnedWindow),
      learned: {
        requests: bucket.learned.requests?.limit ?? null,
        tokens: bucket.learned.tokens?.limit ?? null,
        concurrency: bucket.learnedConcurrency,
      },
      rates: toCounted(bucket.rates),
      speed: bucket.speed,
      levels: toCounted(bucket.levels),
      utilisation: computeUtilisation(bucket),
      used: toCounted(bucket.used),
      in_flight: bucket.inFlight,
      paused_until: bucket.pausedUntil === null ? null : new Date(bucket.pausedUntil).toISOString(),
      paused_reason: bucket.pausedReason,
      shut:
        bucket.shut === null
          ? null
          : { until: new Date(bucket.shut.till).toISOString(), reason: bucket.shut.reason },
      breaker: { state: bucket.breaker.state },
      tiers: showTiers(bucket),
      throttled: bucket.throttled,
    }
  })
}
