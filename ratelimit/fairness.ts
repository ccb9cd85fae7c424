import { findSlots, type Lane, listLimits } from '../config/lanes.ts'
import type { Cost, LaneWaitingFor } from './gate.ts'

/**
 * How long a band gives way to `high`, in seconds of the lane's service. It does not wait for ever: an entry of `low` goes before an
 * entry of `high` that was queued more than an hour of service later.
 */
export const BAND_SECONDS = { high: 0, normal: 600, low: 3600 } as const
export type Band = keyof typeof BAND_SECONDS

/** Seconds of service in one step of the queue's priority. Entries within a step are served in order of arrival. */
const STEP_SECONDS = 0.5

/**
 * BullMQ's largest priority. With half-second steps a lane reaches it after twelve days in which it never ran empty.
 * Later entries are served in order of arrival.
 */
const MOST_PRIORITY = 2 ** 21 - 1

/** A nominal rate for lanes without limits on requests and tokens. */
const UNLIMITED_TOKENS_PER_SECOND = 100_000

/**
 * The least time for which a call counts as using one of the lane's slots, s. Half of a lane's slots then fill a step, by weight. If a step
 * held more small calls of one tenant, all of them would go before another tenant's call that arrives meanwhile.
 */
const CALL_SECONDS = 2 * STEP_SECONDS

export type Tagged = {
  tenant: string
  band: Band
  seconds: number
  weight: number
  /** Not due yet: it gets its place among the tenant's other delayed entries, and goes before no entry until it is due. */
  later?: boolean
  /** It had its turn, and its call broke: it gets its place among the tenant's other retries. */
  again?: boolean
  /** Digest of its fair key: the tenant's turns go round its fair keys. Absent: the entry has none. */
  fairKey?: string
}

/**
 * What `tag` answers for an entry. `turn`: its tag inside the tenant, by which the tenant's entries exchange their turns; null until
 * an entry of the lane has a fair key.
 */
export type Tags = { start: number; turn: number | null }

/** The flow of an entry. The entries of a tenant in a flow follow each other. */
export function flowOf({ band, later, again }: Pick<Tagged, 'band' | 'later' | 'again'>): string {
  if (again) return `again-${band}`
  return later ? `later-${band}` : band
}

/** Seconds of service by the limits on requests and by the limits on tokens. */
export type ServiceShares = { requests: number; tokens: number }

export function serviceShares(lane: Lane, cost: Omit<Cost, 'requests'>): ServiceShares {
  const all = listLimits(lane)
  const share = (amount: number, name: CountedLimit) =>
    Math.max(...all.map(({ [name]: perMinute }) => (perMinute === undefined ? 0 : (amount * 60) / perMinute)))
  return {
    // A coalesced entry is only a small part of a request.
    requests: lane.coalesce ? 0 : share(1, 'requests_per_minute'),
    tokens: Math.max(
      share(cost.tokens, 'tokens_per_minute'),
      share(cost.inputTokens, 'input_tokens_per_minute'),
      share(cost.outputTokens, 'output_tokens_per_minute'),
      share(cost.images ?? 0, 'images_per_minute'),
      share(cost.audioSeconds ?? 0, 'audio_seconds_per_minute'),
    ),
  }
}

type CountedLimit =
  | 'requests_per_minute'
  | 'tokens_per_minute'
  | 'input_tokens_per_minute'
  | 'output_tokens_per_minute'
  | 'images_per_minute'
  | 'audio_seconds_per_minute'

/** How long a cost uses a lane at its full rate, in seconds: by its largest dimension, and at least its time in the slots. */
export function serviceSeconds(lane: Lane, cost: Omit<Cost, 'requests'>): number {
  const { requests, tokens } = serviceShares(lane, cost)
  const seconds = Math.max(requests, tokens)
  const slots = slotSeconds(lane)
  return seconds > 0
    ? Math.max(seconds, slots)
    : slots + Math.max(1, cost.tokens) / UNLIMITED_TOKENS_PER_SECOND
}

/** The least time for which a call uses all slots of the lane together, s. */
function slotSeconds(lane: Lane): number {
  // A coalesced entry is only a small part of a call.
  return lane.coalesce ? 0 : CALL_SECONDS / findSlots(lane)
}

/** The queue's priority (1 is served first) of an entry with this start tag. */
export function priorityOf(start: number, band: Band): number {
  return Math.min(MOST_PRIORITY, 1 + Math.floor((start + BAND_SECONDS[band]) / STEP_SECONDS))
}

/** State of the pure twin. */
export type FairState = { v: number; ends: Map<string, number> }

/** The arithmetic of `lua/tag.lua`: answers the start tags of entries, and changes the state. */
export function tagEntries(state: FairState, entries: readonly Tagged[]): number[] {
  return entries.map((entry) => {
    const { tenant, seconds, weight } = entry
    const key = `${flowOf(entry)}:${tenant}`
    const start = Math.max(state.v, state.ends.get(key) ?? 0)
    state.ends.set(key, start + seconds / weight)
    return start
  })
}

/**
 * The arithmetic of `lua/serve.lua`: the lane serves entries up to this start tag. The virtual time moves to the beginning of the tag's
 * step, not to the tag. Entries of a step are served in order of arrival. So a tenant whose next entry arrives during the step must not
 * start from the place of another tenant in it.
 */
export function serveTagged(state: FairState, start: number): void {
  state.v = Math.max(state.v, beginOfStep(start))
}

export function beginOfStep(start: number): number {
  return Math.floor(start / STEP_SECONDS) * STEP_SECONDS
}

export type Fairness = {
  /**
   * Tags for entries before they are queued, in their order; one script call.
   *
   * @param held keys that hold the lane's entries; if all are empty, the lane is idle and the count restarts
   */
  tag(lane: string, entries: readonly Tagged[], held: { sets: string[]; lists: string[] }): Promise<Tags[]>
  /** The lane serves entries: moves its virtual time, and measures its rate. */
  serve(lane: string, service: Service): Promise<void>
  /**
   * Whether entries with these start tags, which were served once, still have their place. If the count has restarted since,
   * such an entry would be served far too late.
   */
  holds(lane: string, starts: readonly number[]): Promise<boolean[]>
  /** Refunds entries that leave the lane unserved. `share`: seconds over weight. */
  untag(lane: string, entries: readonly { tenant: string; flow: string; share: number }[]): Promise<void>
  /** Stores what the lane's entries wait for now; null: nothing. */
  note(lane: string, waitingFor: LaneWaitingFor | null): Promise<void>
  /** Adds to the sums of how the lane's entries use each kind of limit. The sums start again when the lane is empty. */
  mix(lane: string, seconds: number, shares: ServiceShares): Promise<void>
  read(lane: string): Promise<FairSnapshot>
  /** Where a new entry of a fair key stands among its tenant's entries. */
  place(lane: string, newcomer: Newcomer): Promise<KeyPlace>
}

/** Entries that a lane serves now. */
type Service = {
  /** The highest of their start tags. */
  start: number
  /** Seconds of service that they take in all. */
  seconds: number
  /** Key: the sorted set of the lane's waiting entries. */
  waiting: string
  /** The measurement of the rate restarts: the lane served nothing for a while. */
  isResumed: boolean
}

/** An entry that is about to be queued. `fairKey`: the digest of its fair key; absent: none. */
export type Newcomer = { tenant: string; band: Band; fairKey?: string | undefined }

/** How many of its tenant's waiting entries of the band go before an entry (`ahead`), and how many there are, with it or without it (`of`). */
export type KeyPlace = { ahead: number; of: number }

/** The state of a lane's service. */
export type FairSnapshot = FairState & {
  /** Recent seconds of service a second; null while unknown. */
  rate: number | null
  /**
   * All entries of the lane together take this share of the sum of what each takes alone, (0, 1]. Some cost many requests
   * and some many tokens, and both limits refill at the same time.
   */
  overlap: number
  waitingFor: LaneWaitingFor | null
}
