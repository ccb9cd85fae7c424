import type {
  BucketState,
  LaneBreaker,
  LaneState,
  NamedState,
  NamedTier,
  Quantities,
  TierState,
} from './lane-state.ts'
import { readBucketStates } from './lane-state.ts'

/** A tier without any state. */
const OPEN_TIER: TierState = {
  pausedUntil: null,
  pausedReason: null,
  breaker: { state: 'closed', failures: 0, openUntil: null, heldTenants: [], triedTenants: [] },
  speed: 1,
}

const DIMENSIONS = ['requests', 'tokens', 'inputTokens', 'outputTokens'] as const

/**
 * Reads the answer of `lua/read.lua`.
 *
 * @param names the names of the lane's shared limits and sources, in the order in which the script got them
 */
export function readLaneState(
  json: string,
  { shared, sources }: { shared: readonly string[]; sources: readonly string[] },
): LaneState {
  const [own, ...others] = readBucketStates(json)
  const named = [...shared, ...sources].map((name, index) => ({ name, ...others[index]! }))
  return composeState(own!, named.slice(0, shared.length), named.slice(shared.length))
}

/** The state of a lane. With sources: the state of all of them together, with the lane's own pause and counters. */
export function composeState(own: BucketState, shared: NamedState[], sources: NamedState[]): LaneState {
  if (sources.length === 0) return { ...own, shared, sources }
  return {
    ...own,
    levels: addBounds(sources.map(({ levels }) => levels)),
    rates: addBounds(sources.map(({ rates }) => rates)),
    used: addAll(sources.map(({ used }) => used)),
    capacities: addBounds(sources.map(({ capacities }) => capacities)),
    usedToday: sum(sources.map(({ usedToday }) => usedToday)),
    capacityToday: addUp(sources.map(({ capacityToday }) => capacityToday)),
    ...composePause(own, sources),
    breaker: composeBreaker(sources.map(({ breaker }) => breaker)),
    speed: composeSpeed(sources),
    tiers: composeTiers(own, sources),
    throttled: sum(sources.map(({ throttled }) => throttled)),
    learned: { requests: null, tokens: null },
    shared,
    sources,
  }
}

/** When a source may be asked again, Unix ms; null: now. */
export function findOpening({ pausedUntil, shut, at }: BucketState): number | null {
  const till = Math.max(pausedUntil ?? 0, shut?.till ?? 0)
  return till > at ? till : null
}

/** The lane's own pause; if all sources are paused, the pause until the first of them opens. */
function composePause(
  own: BucketState,
  sources: readonly NamedState[],
): Pick<BucketState, 'pausedUntil' | 'pausedReason'> {
  const openings = sources.map(findOpening)
  if (openings.includes(null)) return { pausedUntil: own.pausedUntil, pausedReason: own.pausedReason }
  const first = Math.min(...openings.filter((one) => one !== null))
  if ((own.pausedUntil ?? 0) >= first) return { pausedUntil: own.pausedUntil, pausedReason: own.pausedReason }
  const reasons = sources.map(
    (one) => `${one.name}: ${(one.shut ?? null) === null ? one.pausedReason : one.shut!.reason}`,
  )
  return { pausedUntil: first, pausedReason: reasons.join('; ') }
}

/** The state of each tier over all sources. A tier without state at a source is open there. */
function composeTiers(own: BucketState, sources: readonly NamedState[]): NamedTier[] {
  const names = new Set([own, ...sources].flatMap(({ tiers }) => tiers.map(({ name }) => name)))
  return [...names].sort().map((name) => {
    const held = findTier(own, name)
    const all = sources.map((source) => findTier(source, name))
    const isOpen = all.some(({ pausedUntil }) => pausedUntil === null)
    const first = all.reduce((one, other) => (other.pausedUntil! < one.pausedUntil! ? other : one))
    const longest = isOpen || (held.pausedUntil ?? 0) >= first.pausedUntil! ? held : first
    return {
      name,
      pausedUntil: longest.pausedUntil,
      pausedReason: longest.pausedReason,
      breaker: composeBreaker(all.map(({ breaker }) => breaker)),
      speed: Math.max(...all.map(({ speed }) => speed)),
    }
  })
}

function findTier({ tiers }: BucketState, name: string): NamedTier {
  return tiers.find((one) => one.name === name) ?? { name, ...OPEN_TIER }
}

/** A lane has the state of its soundest source. It holds a tenant back if every source does. */
function composeBreaker(all: readonly LaneBreaker[]): LaneBreaker {
  const states = all.map(({ state }) => state)
  const state = states.includes('closed') ? 'closed' : states.includes('half_open') ? 'half_open' : 'open'
  const opens = all.map(({ openUntil }) => openUntil).filter((one) => one !== null)
  const inAll = (read: (one: LaneBreaker) => string[]) =>
    read(all[0]!).filter((tenant) => all.every((one) => read(one).includes(tenant)))
  return {
    state,
    failures: Math.min(...all.map(({ failures }) => failures)),
    openUntil: state === 'open' && opens.length > 0 ? Math.min(...opens) : null,
    heldTenants: inAll(({ heldTenants }) => heldTenants),
    triedTenants: inAll(({ heldTenants, triedTenants }) => [...heldTenants, ...triedTenants]),
  }
}

/** The share of the summed rates that is in use. A paused, shut or broken source adds nothing. */
function composeSpeed(sources: readonly NamedState[]): number {
  const dimension = DIMENSIONS.find((one) => sources.every(({ rates }) => rates[one] !== null))
  const weights = sources.map(({ rates }) => (dimension === undefined ? 1 : rates[dimension]!))
  const speeds = sources.map((one) =>
    findOpening(one) === null && one.breaker.state === 'closed' ? one.speed : 0,
  )
  return sum(speeds.map((speed, index) => speed * weights[index]!)) / sum(weights)
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/** Null if one of them has no limit. */
function addUp(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === values.length ? sum(known) : null
}

function addBounds(all: readonly Quantities<number | null>[]): Quantities<number | null> {
  return mapDimensions((dimension) => addUp(all.map((one) => one[dimension])))
}

function addAll(all: readonly Quantities<number>[]): Quantities<number> {
  return mapDimensions((dimension) => sum(all.map((one) => one[dimension])))
}

function mapDimensions<T>(read: (dimension: (typeof DIMENSIONS)[number]) => T): Quantities<T> {
  const [requests, tokens, inputTokens, outputTokens] = DIMENSIONS.map(read) as [T, T, T, T]
  return { requests, tokens, inputTokens, outputTokens }
}
