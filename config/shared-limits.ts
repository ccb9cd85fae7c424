import { type LaneLimits, listLanes } from './lanes.ts'
import type { Config } from './schema.ts'

/**
 * A limit that lanes share. `binds`: limits of lanes, such as `sim/chat: requests`, that are higher than it and therefore have no effect.
 */
export type SharedLimitUse = { provider: string; name: string; lanes: string[]; binds: string[] }

const DIMENSIONS = [
  ['requests_per_minute', 'requests'],
  ['tokens_per_minute', 'tokens'],
  ['input_tokens_per_minute', 'input tokens'],
  ['output_tokens_per_minute', 'output tokens'],
  ['images_per_minute', 'images'],
  ['audio_seconds_per_minute', 'audio seconds'],
  ['requests_per_day', 'requests a day'],
  ['max_concurrency', 'concurrency'],
] as const satisfies [keyof LaneLimits, string][]

/** The shared limits of all providers, with the configured lanes. */
export function listSharedLimits(config: Config): SharedLimitUse[] {
  const lanes = listLanes(config)
  return Object.entries(config.providers).flatMap(([provider, settings]) =>
    Object.keys(settings.shared_limits).map((name) => {
      const sharers = lanes.flatMap((lane) => {
        const shared = lane.provider === provider ? lane.shared?.find((one) => one.name === name) : undefined
        return shared === undefined ? [] : [{ lane, common: shared.limits }]
      })
      return {
        provider,
        name,
        lanes: sharers.map(({ lane }) => lane.id),
        binds: sharers.flatMap(({ lane, common }) => {
          const lower = DIMENSIONS.filter(
            ([limit]) => (common[limit] ?? Infinity) < (lane.limits[limit] ?? Infinity),
          )
          return lower.length === 0 ? [] : [`${lane.id}: ${lower.map(([, what]) => what).join(', ')}`]
        }),
      }
    }),
  )
}
