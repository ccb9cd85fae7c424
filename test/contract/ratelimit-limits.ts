import fc from 'fast-check'
import type { LaneLimits } from '../../config/lanes.ts'
import type { Cost } from '../../ratelimit/gate.ts'

/** Limits that are counted by the window. */
export type LimitName = Exclude<
  keyof LaneLimits,
  | 'window'
  | 'window_auto'
  | 'headroom'
  | 'max_concurrency'
  | 'isAdaptive'
  | 'requests_per_day'
  // Counted in the places of others: ratelimit/media-limits.ts.
  | 'images_per_minute'
  | 'audio_seconds_per_minute'
>

/** What each of them counts. */
export const COUNTED: Record<LimitName, Exclude<keyof Cost, 'images' | 'audioSeconds'>> = {
  requests_per_minute: 'requests',
  tokens_per_minute: 'tokens',
  input_tokens_per_minute: 'inputTokens',
  output_tokens_per_minute: 'outputTokens',
}
export const NAMES = Object.keys(COUNTED) as LimitName[]

/** Any mix of limits that lets some hundred calls through in a run. */
export const anyLimits = fc
  .record({
    window: fc.constantFrom(1000, 5000, 20_000, 60_000),
    headroom: fc.constantFrom(0.5, 0.9, 0.99, 1),
    callsPerWindow: fc.integer({ min: 1, max: 60 }),
    names: fc.subarray(NAMES, { minLength: 1 }),
    concurrency: fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
    spread: fc.array(fc.double({ min: 0.6, max: 1.4, noNaN: true }), { minLength: 4, maxLength: 4 }),
  })
  .map(({ window, headroom, callsPerWindow, names, concurrency, spread }) => {
    const limits: LaneLimits = {
      window,
      headroom,
      ...(concurrency === undefined ? {} : { max_concurrency: concurrency }),
    }
    const perMinute = Math.ceil((callsPerWindow * 60_000) / window)
    for (const name of names) {
      const each = { requests: 1, tokens: 400, inputTokens: 300, outputTokens: 100 }[COUNTED[name]]
      limits[name] = Math.ceil(perMinute * each * spread[NAMES.indexOf(name)]!)
    }
    return limits
  })
