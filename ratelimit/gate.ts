import type { Cluster, Redis } from 'ioredis'
import type { Lane } from '../config/lanes.ts'
import type { GateLane } from './addresses.ts'
import { addressBuckets } from './addresses.ts'
import { createLaneAdoption } from './adopt-lanes.ts'
import type { CallOutcome, CallSource } from './breaker.ts'
import { readLaneState } from './compose-state.ts'
import type { CallTiming } from './concurrency.ts'
import { type LaneState, type ServiceTier, STANDARD } from './lane-state.ts'
import type { Amounts } from './limits.ts'
import { countMedia } from './media-limits.ts'
import { defineScripts } from './scripts.ts'
import { addJitter } from './slowdown.ts'

/** What one provider request takes from its lane. Fractions are rounded up. */
export type Cost = {
  requests: number
  tokens: number
  inputTokens: number
  outputTokens: number
  /** Pictures asked for, and seconds of sound to hear; absent: none. */
  images?: number
  audioSeconds?: number
}

export type LaneWaitingFor = 'requests' | 'tokens' | 'concurrency' | 'provider_pause'

/** What a call waits for; `tier`: calls of other tiers may leave; `breaker`: those of other tenants as well. */
export type RefusedFor = LaneWaitingFor | 'tier' | 'breaker'

/** `waitMs` is 0 when all were granted, and Infinity when the next one never will be. */
export type Taken = { permits: string[]; waitMs: number; waitingFor: RefusedFor | null }

export type TakeAnswer = {
  /** One for each granted cost: the longest prefix that passes. */
  permits: string[]
  /** Until the next cost could pass; 0 when all passed, Infinity when it never will. */
  waitMs: number
  /** What that cost waits for longest; null when all passed. */
  waitingFor: LaneWaitingFor | null
  /** The next cost is larger than its lane could ever admit. */
  never: boolean
  /** The breaker keeps the next call because of its tenant: calls of other tenants may leave. */
  othersMay?: true
  /** What holds the next call back is its tier's: calls of other tiers may leave. */
  otherTiersMay?: true
}

/** What a provider's answer reports about the lane, as `providers/` reads it from the headers. */
type LaneFeedback = {
  limitRequests?: number
  limitTokens?: number
  remainingRequests?: number
  remainingTokens?: number
}

export type Settlement = {
  permit: string
  /** What the provider counts for the call; null: it was never sent, and everything is refunded. */
  actual: Cost | null
  feedback?: LaneFeedback
  /** The provider answered 429: the lane pauses for this long, for every process; an hour at the most, then one call at a time asks again. */
  throttledMs?: number
  throttledReason?: string
  /** The source refused us (a key, money, permissions): it is shut for this long, for every process. Lanes without sources: nothing. */
  shutMs?: number
  shutReason?: string
  /**
   * How the call ended, for the breaker: `broken` is a 5xx, a time-out or a connection failure. Null and absent say
   * nothing. A 429 says nothing either, with any value here.
   */
  outcome?: CallOutcome
  /** What the call tells about a server whose capacity nobody knows; absent: nothing. */
  timing?: CallTiming
  /** The source of the call; absent: unknown. */
  source?: CallSource
  /**
   * Tokens that count if the provider counts what was used, where its kind does not tell: then `actual` has the estimate, and the
   * bucket learns which of the two counts. Absent: `actual` counts.
   */
  usedTokens?: number
  /** The tier that the provider was asked for: its pause, its breaker and its pace hear of the call. Absent: standard. */
  tier?: ServiceTier
}

/** `keys` and `args` are the lane's and for `open_gate`. `amounts`: what the call takes, as the gate counts it. */
export type PreparedTake = { keys: string[]; args: (string | number)[]; amounts: Amounts }

/**
 * The only way to a provider: nothing is sent without a permit. A permit is taken from the lane's own limits and from every
 * shared limit that names it, whole or not at all. All state is in Redis. Every method is one script and
 * one round trip. Any number of processes may share a lane. Errors are those of ioredis.
 */
export type Gate = {
  /**
   * Takes permits for as many of `costs`, in order, as may leave now. A permit keeps its slot until you settle it or its lease ends.
   *
   * @param tenants the tenant of each cost; '' and absent: none, or several
   * @param sources the source that each cost has to go to; '' and absent: any. A source that there is not binds nothing
   * @param tiers the tier of service that each cost asks for; absent: standard
   */
  take(
    lane: Lane,
    costs: Cost[],
    tenants?: readonly string[],
    sources?: readonly string[],
    tiers?: readonly ServiceTier[],
  ): Promise<TakeAnswer>
  /**
   * What a script that has `open_gate` of scripts.ts needs to take the permit of a call itself.
   *
   * @param permitMs how long the permit lasts until somebody renews it, ms
   */
  prepareTake(lane: Lane, cost: Cost, permitMs: number): Promise<PreparedTake>
  /** Frees permits and books what their calls really used. A permit settles once; later settlements of it change nothing. */
  settle(lane: Lane, settlements: Settlement[]): Promise<void>
  /** Extends the leases of running calls; call it at least every half lease. */
  renew(lane: GateLane, permits: string[]): Promise<void>
  /** Lets nothing leave for this long (Infinity: until resumed). Never shortens a current pause. */
  pause(lane: Lane, forMs: number, reason: string): Promise<void>
  /** Ends a pause of any kind and closes the breaker. */
  resume(lane: Lane): Promise<void>
  /**
   * Books `count` retries before they are scheduled, so that retries stay a fifth of the lane's traffic. Returns the delay
   * of each beyond its own back-off, 0 to ten minutes, ms. Retries after a 429 are not booked here.
   *
   * @param tenant their tenant: one tenant's bookings do not delay another's
   */
  retry(lane: Lane, count: number, tenant?: string): Promise<number[]>
  read(lane: Lane): Promise<LaneState>
  /** Deletes a lane that nobody uses. State that still counts is kept for a day, or as long as the lane is paused. */
  forget(lane: Lane): Promise<void>
}

export type GateOptions = {
  redis: Redis | Cluster
  /** What all keys begin with. */
  prefix: string
  /** How long a permit holds its concurrency slot without a sign of life, ms. Default 30 s. */
  leaseMs?: number
  /** Spreads the ends of pauses. */
  random?: () => number
  /** A clock in ms in place of Redis' own, for simulated time. */
  now?: () => number
}

/** Longest pause, ms: ten years. */
const LONGEST_PAUSE_MS = 315_360_000_000

/** The gate in front of every lane. Holds no state and no connection of its own. */
export function createGate({
  redis,
  prefix,
  leaseMs = 30_000,
  random = Math.random,
  now,
}: GateOptions): Gate {
  const scripts = defineScripts(redis)

  const adoption = createLaneAdoption({ redis, prefix })

  const prepared = new WeakMap<GateLane, Pick<PreparedTake, 'keys' | 'args'>>()

  function split([count, ...rest]: (string | number)[]): Pick<PreparedTake, 'keys' | 'args'> {
    const keys = rest.slice(0, Number(count)) as string[]
    return { keys, args: rest.slice(keys.length) }
  }

  /** Keys and arguments that every script begins with. Permits are renewed and settled where they were taken. */
  const address = (lane: GateLane) => addressBuckets(prefix, lane, now ? now() : '')

  return {
    async take(lane, costs, tenants = [], sources = [], tiers = []) {
      if (costs.length === 0) return toTakeAnswer({ permits: [], waitMs: 0, waitingFor: null })
      await adoption.adopt(lane.id)
      const [waitMs, waitingFor, ...permits] = await scripts.take(
        ...address(lane),
        leaseMs,
        ...costs.flatMap((cost, index) => [
          ...toAmounts(countMedia(lane, cost)),
          tenants[index] ?? '',
          sources[index] ?? '',
          tiers[index] ?? STANDARD,
        ]),
      )
      return toTakeAnswer({
        permits,
        waitMs: waitMs < 0 ? Number.POSITIVE_INFINITY : waitMs,
        waitingFor: (waitingFor || null) as RefusedFor | null,
      })
    },

    async prepareTake(lane, cost, permitMs) {
      await adoption.adopt(lane.id)
      const known = prepared.get(lane) ?? split(address(lane))
      const { keys, args } = known
      // Lanes are the same objects for as long as the configuration is; the simulated time of an address is not.
      if (!now) prepared.set(lane, known)
      return { keys, args: [...args, permitMs], amounts: toAmounts(countMedia(lane, cost)) }
    },

    async settle(lane, settlements) {
      if (settlements.length === 0) return
      await scripts.settle(
        ...address(lane),
        ...settlements.flatMap((each) => {
          const actual = each.actual && countMedia(lane, each.actual)
          return toArguments(toBooking({ ...each, actual }, random))
        }),
      )
    },

    async renew(lane, permits) {
      if (permits.length > 0) await scripts.renew(...address(lane), leaseMs, ...permits)
    },

    async pause(lane, forMs, reason) {
      await adoption.adopt(lane.id)
      await scripts.pause(...address(lane), toPause(forMs), reason)
    },

    async resume(lane) {
      await adoption.adopt(lane.id)
      await scripts.pause(...address(lane), '', '')
    },

    async retry(lane, count, tenant = '') {
      return count > 0 ? scripts.retry(...address(lane), count, tenant) : []
    },

    async read(lane) {
      await adoption.adopt(lane.id)
      return readLaneState(await scripts.read(...address(lane)), {
        shared: (lane.shared ?? []).map(({ name }) => name),
        sources: (lane.sources ?? []).map(({ name }) => name),
      })
    },

    async forget(lane) {
      await scripts.forget(...address(lane))
      adoption.forget(lane.id)
    },
  }
}

export function toTakeAnswer({ permits, waitMs, waitingFor }: Taken): TakeAnswer {
  const isBreaker = waitingFor === 'breaker'
  const isOfTier = isBreaker || waitingFor === 'tier'
  return {
    permits,
    waitMs,
    waitingFor: isOfTier ? 'provider_pause' : waitingFor,
    never: waitMs === Number.POSITIVE_INFINITY,
    ...(isBreaker ? { othersMay: true } : {}),
    ...(isOfTier ? { otherTiersMay: true } : {}),
  }
}

/** Whole numbers keep the ledger's running sums exact. */
export function toAmounts(cost: Cost): Amounts {
  const amounts: Amounts = [cost.requests, cost.tokens, cost.inputTokens, cost.outputTokens]
  for (const amount of amounts) {
    if (!Number.isFinite(amount) || amount < 0) throw new RangeError(`not a cost: ${JSON.stringify(cost)}`)
  }
  return amounts.map(Math.ceil) as Amounts
}

/** A provider that asks for a longer wait is asked again after this, by one call, ms. */
const LONGEST_WAIT_MS = 3_600_000

/** The pause after a 429. More than `LONGEST_WAIT_MS`: one call asks again at its end. */
function toThrottle(ms: number, random: () => number): number {
  return addJitter(Math.min(toPause(ms), LONGEST_WAIT_MS + 1), random)
}

/** Finite and not negative; no pause where it is no number. */
export function toPause(ms: number): number {
  return Math.min(Math.max(0, ms) || 0, LONGEST_PAUSE_MS)
}

/** A settlement as the bucket books it: whole amounts, jitter added, null where nothing was reported. */
export type Booking = {
  permit: string
  actual: Amounts | null
  limits: Report
  remaining: Report
  outcome: CallOutcome
  source: CallSource
  tier: ServiceTier
  usedTokens: number | null
  pauseMs: number | null
  shutMs: number | null
  reason: string
}
type Report = { requests: number | null; tokens: number | null }

export function toBooking(settlement: Settlement, random: () => number): Booking {
  const { permit, actual, feedback = {}, throttledMs, throttledReason, shutMs, outcome, source } = settlement
  return {
    permit,
    actual: actual && toAmounts(actual),
    limits: { requests: toReport(feedback.limitRequests), tokens: toReport(feedback.limitTokens) },
    remaining: { requests: toReport(feedback.remainingRequests), tokens: toReport(feedback.remainingTokens) },
    outcome: throttledMs === undefined ? (outcome ?? null) : null,
    source: source ?? { tenant: '', prompt: '', job: '' },
    tier: settlement.tier ?? STANDARD,
    usedTokens: actual === null ? null : toReport(settlement.usedTokens),
    pauseMs: throttledMs === undefined ? null : toThrottle(throttledMs, random),
    shutMs: shutMs === undefined ? null : toPause(shutMs),
    reason: settlement.shutReason ?? throttledReason ?? 'throttled',
  }
}

/** A value that is no number counts as not reported: one NaN would stay in a level for good. */
function toReport(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null
}

/** In the order that `lua/settle.lua` reads them. */
function toArguments(booking: Booking): (string | number)[] {
  const { permit, actual, limits, remaining, outcome, source, pauseMs, shutMs, reason, tier } = booking
  return [
    permit,
    ...(actual ?? ['', '', '', '']),
    limits.requests ?? '',
    limits.tokens ?? '',
    remaining.requests ?? '',
    remaining.tokens ?? '',
    outcome ?? '',
    pauseMs ?? '',
    reason,
    source.tenant,
    source.prompt,
    source.job,
    shutMs ?? '',
    tier,
    booking.usedTokens ?? '',
  ]
}
