import { readFileSync } from 'node:fs'
import { findSlots, type Lane, listLimits } from '../config/lanes.ts'
import type { RedisClient } from '../lib/redis.ts'
import type { Cost, LaneWaitingFor } from './gate.ts'

/**
 * How long a band gives way to `high`, in seconds of the lane's service. Not for ever: an entry of `low` goes before an
 * entry of `high` that was queued more than an hour of service later.
 */
export const BAND_SECONDS = { high: 0, normal: 600, low: 3600 } as const
export type Band = keyof typeof BAND_SECONDS

/** Seconds of service in one step of the queue's priority: entries within a step are served in order of arrival. */
const STEP_SECONDS = 0.5

/**
 * BullMQ's largest priority. With half-second steps a lane reaches it after twelve days in which it never ran empty;
 * later entries are first come, first served.
 */
const MOST_PRIORITY = 2 ** 21 - 1

/** A nominal rate for lanes without limits on requests and tokens. */
const UNLIMITED_TOKENS_PER_SECOND = 100_000

/**
 * Least time that a call counts of one of the lane's slots, s. Half of a lane's slots then fill a step, by weight. More small
 * calls of one tenant in a step would all go before another tenant's call that comes meanwhile.
 */
const CALL_SECONDS = 2 * STEP_SECONDS

export type Tagged = {
  tenant: string
  band: Band
  seconds: number
  weight: number
  /** Not due yet: it gets its place among the tenant's other delayed entries, and goes before nobody until it is due. */
  later?: boolean
  /** Its call broke, and it had its turn: it gets its place among the tenant's other retries. */
  again?: boolean
  /** Digest of its fair key: turns of the tenant go round these. Absent: the tenant's entries without one. */
  fairKey?: string
}

/**
 * What `tag` answers for an entry. `turn`: its tag inside the tenant, by which its entries exchange the tenant's turns; null while
 * no entry of the lane has had a fair key.
 */
export type Tags = { start: number; turn: number | null }

/** The flow of an entry. Within a flow a tenant's entries follow each other. */
export function flowOf({ band, later, again }: Pick<Tagged, 'band' | 'later' | 'again'>): string {
  if (again) return `again-${band}`
  return later ? `later-${band}` : band
}

/** Seconds of service by the limits on requests and by those on tokens. */
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

/** How long a cost occupies a lane at its full rate, in seconds: the largest dimension, and at least its time in the slots. */
export function serviceSeconds(lane: Lane, cost: Omit<Cost, 'requests'>): number {
  const { requests, tokens } = serviceShares(lane, cost)
  const seconds = Math.max(requests, tokens)
  const slots = slotSeconds(lane)
  return seconds > 0
    ? Math.max(seconds, slots)
    : slots + Math.max(1, cost.tokens) / UNLIMITED_TOKENS_PER_SECOND
}

/** Least time that a call takes of all the lane's slots together, s. */
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

/** The arithmetic of `lua/tag.lua`: start tags of entries, and the state after them. */
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
 * The arithmetic of `lua/serve.lua`: entries up to this start tag are being served. The virtual time moves to the
 * beginning of the tag's step, not to the tag. Entries of a step are served in order of arrival, so a tenant whose next
 * entry comes during the step must not start from the place of others in it.
 */
export function serveTagged(state: FairState, start: number): void {
  state.v = Math.max(state.v, beginOfStep(start))
}

function beginOfStep(start: number): number {
  return Math.floor(start / STEP_SECONDS) * STEP_SECONDS
}

export type Fairness = {
  /**
   * Tags for entries about to be queued, in their order; one script call.
   *
   * @param held keys that hold the lane's entries; when all are empty the lane is idle and the count restarts
   */
  tag(lane: string, entries: readonly Tagged[], held: { sets: string[]; lists: string[] }): Promise<Tags[]>
  /** The lane serves entries: moves its virtual time, and measures its rate. */
  serve(lane: string, service: Service): Promise<void>
  /**
   * Whether entries with these start tags, which were served once, still have their place. If the count restarted since,
   * such a tag would be far behind.
   */
  holds(lane: string, starts: readonly number[]): Promise<boolean[]>
  /** Entries leave the lane unserved. `share`: seconds over weight. */
  untag(lane: string, entries: readonly { tenant: string; flow: string; share: number }[]): Promise<void>
  /** Notes what the lane's entries wait for now; null: nothing. */
  note(lane: string, waitingFor: LaneWaitingFor | null): Promise<void>
  /** Adds to the lane's use of each kind of limit, since it was last empty. */
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

/** How many of its tenant's waiting entries of the band go before an entry, and how many there are, without it or with it. */
export type KeyPlace = { ahead: number; of: number }

/** The state of a lane's service. */
export type FairSnapshot = FairState & {
  /** Recent seconds of service a second; null while unknown. */
  rate: number | null
  /**
   * The lane's entries together take this share of the sum of what each takes alone, (0, 1]: some cost many requests
   * and some many tokens, and both kinds refill at the same time.
   */
  overlap: number
  waitingFor: LaneWaitingFor | null
}

/** The decay of the measured rate, ms; as in `lua/serve.lua`. */
const RATE_MS = 10_000
/** A rate measured over a shorter time is unreliable, ms. */
const MEASURED_MS = 1500

type Commands = Record<string, (...args: (string | number)[]) => Promise<string[]>>

export function createFairness({ redis, prefix }: { redis: RedisClient; prefix: string }): Fairness {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  redis.defineCommand('sluiceGate:tag', { lua: read('tag') })
  redis.defineCommand('sluiceGate:serve', { lua: read('serve'), numberOfKeys: 2 })
  redis.defineCommand('sluiceGate:place', { lua: read('place'), numberOfKeys: 1 })
  redis.defineCommand('sluiceGate:untag', { lua: read('untag'), numberOfKeys: 1 })
  const commands = redis as unknown as Commands
  const key = (lane: string) => `${prefix}:{l:${lane}}:fair`
  return {
    async tag(lane, entries, held) {
      const keys = [key(lane), ...held.sets, ...held.lists]
      const args = entries.flatMap((entry) => [
        entry.tenant,
        flowOf(entry),
        entry.seconds / entry.weight,
        entry.fairKey ?? '',
      ])
      const tags = await commands['sluiceGate:tag']!(keys.length, ...keys, held.sets.length, ...args)
      return entries.map((_, index) => {
        const [start, turn] = tags.slice(2 * index, 2 * index + 2)
        return { start: Number(start), turn: turn === '' ? null : Number(turn) }
      })
    },
    async serve(lane, { start, seconds, waiting, isResumed }) {
      await commands['sluiceGate:serve']!(key(lane), waiting, beginOfStep(start), seconds, isResumed ? 1 : 0)
    },
    async holds(lane, starts) {
      const v = Number((await redis.hget(key(lane), 'v')) ?? 0)
      return starts.map((start) => beginOfStep(start) <= v)
    },
    async untag(lane, entries) {
      const args = entries.flatMap(({ tenant, flow, share }) => [tenant, flow, share])
      await commands['sluiceGate:untag']!(key(lane), ...args)
    },
    async note(lane, waitingFor) {
      await redis.hset(key(lane), 'waiting_for', waitingFor ?? '')
    },
    async mix(lane, seconds, shares) {
      await Promise.all([
        redis.hincrbyfloat(key(lane), 'sum:all', seconds),
        redis.hincrbyfloat(key(lane), 'sum:requests', shares.requests),
        redis.hincrbyfloat(key(lane), 'sum:tokens', shares.tokens),
      ])
    },
    async place(lane, { tenant, band, fairKey }) {
      const answer = await commands['sluiceGate:place']!(key(lane), tenant, band, fairKey ?? '')
      const [ahead, of] = answer.map(Number)
      return { ahead: ahead!, of: of! }
    },
    async read(lane) {
      const { v, rate, at, since, last, waiting_for, ...rest } = await redis.hgetall(key(lane))
      const ends = new Map<string, number>()
      for (const [field, end] of Object.entries(rest)) {
        if (field.startsWith('f:')) ends.set(field.slice(2), Number(end))
      }
      const measuredMs = Number(at ?? 0) - Number(since ?? 0)
      return {
        v: Number(v ?? 0),
        ends,
        rate: toRate(Number(rate), Number(last ?? 0), measuredMs),
        overlap: toOverlap(Number(rest['sum:all']), Number(rest['sum:requests']), Number(rest['sum:tokens'])),
        waitingFor: (waiting_for || null) as LaneWaitingFor | null,
      }
    },
  }
}

/**
 * Right after entries were served the rate is above its mean by half of `last`. If `last` is most of it, too little was
 * served to tell. A young average has not seen its whole past yet, so it is scaled up by the part it has seen.
 */
function toRate(rate: number, last: number, measuredMs: number): number | null {
  const mean = rate - last / 2
  if (measuredMs < MEASURED_MS || last > mean / 2) return null
  return mean / (1 - Math.exp(-measuredMs / RATE_MS))
}

function toOverlap(all: number, requests: number, tokens: number): number {
  const together = Math.max(requests, tokens)
  return all > 0 && together > 0 ? Math.min(1, together / all) : 1
}
