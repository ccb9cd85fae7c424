import type { Lane, LaneLimits } from '../config/lanes.ts'
import { inputLimitOf, outputLimitOf } from './media-limits.ts'

/** What the gate needs of a lane to find its buckets. */
export type GateLane = Pick<Lane, 'id' | 'limits' | 'shared' | 'sources'>

/** The prefix of the gate's keys of a lane. All keys of a provider have one hash tag: one script may use several lanes' keys. */
export function laneRoot(prefix: string, lane: string): string {
  const slash = lane.indexOf('/')
  return `${prefix}:{g:${lane.slice(0, slash)}}:lane:${lane.slice(slash + 1)}:`
}

function sharedRoot(prefix: string, lane: string, name: string): string {
  return `${prefix}:{g:${lane.slice(0, lane.indexOf('/'))}}:shared:${name}:`
}

/** The prefix of the gate's keys of a source of a lane. No name of a model contains a line break. */
export function sourceRoot(prefix: string, lane: string, source: string): string {
  const slash = lane.indexOf('/')
  return `${prefix}:{g:${lane.slice(0, slash)}}:source:${source}\n${lane.slice(slash + 1)}:`
}

/** The limits of the lane's own bucket. In a lane with sources this bucket only counts, and the buckets of the sources limit. */
export function boundsOf({ limits, sources }: Pick<GateLane, 'limits' | 'sources'>): LaneLimits {
  return sources === undefined ? limits : { window: 60_000, headroom: limits.headroom }
}

/** The source that a permit was taken from; null: its lane has no sources. */
export function sourceOfPermit(permit: string): string | null {
  const at = permit.indexOf('@')
  return at === -1 ? null : permit.slice(at + 1)
}

/** The number of keys, the keys, and the arguments that every script of the gate begins with; `lua/common.lua` documents them. */
export function addressBuckets(prefix: string, lane: GateLane, now: number | ''): (string | number)[] {
  const own = laneRoot(prefix, lane.id)
  const { shared = [], sources = [] } = lane
  const roots = [
    own,
    ...shared.map(({ name }) => sharedRoot(prefix, lane.id, name)),
    ...sources.map(({ name }) => sourceRoot(prefix, lane.id, name)),
  ]
  // The last key never exists: see lib/script-keys.ts.
  const keys = [...roots.flatMap(bucketKeys), `${own}:`]
  return [
    keys.length,
    ...keys,
    now,
    sources.map(({ name, weight, mark }) => `${name}|${weight}|${mark}`).join(' '),
    ...encodeLimits(boundsOf(lane)),
    ...[...shared, ...sources].flatMap(({ limits }) => encodeLimits(limits)),
  ]
}

/** The keys of one bucket. */
export function bucketKeys(root: string): string[] {
  return [`${root}bucket`, `${root}permits`, `${root}records`, `${root}ledger:window`, `${root}ledger:day`]
}

/** The eight arguments of one bucket's limits, in the order of `lua/common.lua`; '' = no limit. */
function encodeLimits(limits: LaneLimits): (string | number)[] {
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
