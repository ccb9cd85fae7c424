import type { Lane, LaneLimits } from '../config/lanes.ts'
import { inputLimitOf, outputLimitOf } from './media-limits.ts'

/** What the gate has to know of a lane to find its buckets. */
export type GateLane = Pick<Lane, 'id' | 'limits' | 'shared'>

/** Where the gate keeps what belongs to a lane. All of a provider's keys have one hash tag: one script may use several. */
export function laneRoot(prefix: string, lane: string): string {
  const slash = lane.indexOf('/')
  return `${prefix}:{g:${lane.slice(0, slash)}}:lane:${lane.slice(slash + 1)}:`
}

function sharedRoot(prefix: string, lane: string, name: string): string {
  return `${prefix}:{g:${lane.slice(0, lane.indexOf('/'))}}:shared:${name}:`
}

/** Keys and arguments that every script of the gate begins with; `lua/common.lua` names them. The number of keys comes first. */
export function addressBuckets(prefix: string, lane: GateLane, now: number | ''): (string | number)[] {
  const own = laneRoot(prefix, lane.id)
  const shared = lane.shared ?? []
  const roots = [own, ...shared.map(({ name }) => sharedRoot(prefix, lane.id, name))]
  // The last one is never there: see lib/script-keys.ts.
  const keys = [...roots.flatMap(bucketKeys), `${own}:`]
  return [keys.length, ...keys, now, ...[lane, ...shared].flatMap(({ limits }) => toArguments(limits))]
}

/** The keys of one bucket. */
export function bucketKeys(root: string): string[] {
  return [`${root}bucket`, `${root}permits`, `${root}records`, `${root}ledger:window`, `${root}ledger:day`]
}

function toArguments(limits: LaneLimits): (string | number)[] {
  return [
    limits.requests_per_minute ?? '',
    limits.tokens_per_minute ?? '',
    inputLimitOf(limits) ?? '',
    outputLimitOf(limits) ?? '',
    limits.requests_per_day ?? '',
    limits.max_concurrency ?? '',
    limits.window_auto ? 'auto' : limits.window,
    limits.headroom,
  ]
}
