import type { LaneQueue, ShutTier } from '../jobs/lane-queue.ts'
import type { Held } from '../jobs/queue-entry.ts'
import { type ServiceTier, STANDARD } from '../ratelimit/lane-state.ts'

/** The longest time until the gate is asked again about a shut tier, ms, in case an operator opens it. */
const ASK_MS = 1000

/** Entries of a tier that stays shut for longer than this leave the process until it opens, ms. */
const HOLD_MS = 1000

/**
 * If the tier opens now and then (it is slowed down, or a probe is under way), entries that leave come back after this,
 * ms. Of a long backlog, one entry comes back in each PARKED_APART_MS on average, so that looking at them is little
 * work, and each after a minute at the latest.
 */
const PARK_MS = 5000
const LONGEST_PARK_MS = 60_000
const PARKED_APART_MS = 10

/** Most entries of shut tiers that stay in hand. */
const MOST_ASIDE = 64

/**
 * While the standard tier is shut: how often the queue is searched for entries of other tiers, ms; and how often if the
 * search looks at more than FEW_SEEN entries.
 */
const SEARCH_MS = 1000
const LONG_SEARCH_MS = 5000
const FEW_SEEN = 200
/** How soon after a hint of new work the queue is searched, ms, if a search looks at few entries. */
const SOON_MS = 50

/** Most entries of other tiers that one search brings to the front. */
const MOST_BROUGHT = 64

/**
 * What a lane's loop knows about tiers of service that the gate keeps shut while others are open. Times are those of
 * `now`.
 *
 * @param tierOf the tier that an entry asks for
 * @param now milliseconds of any clock that does not go back
 */
export function createShutTiers(deps: {
  queue: Pick<LaneQueue, 'bringOtherTiers'>
  tierOf: (held: Held) => ServiceTier
  now: () => number
}) {
  const { queue, tierOf, now } = deps
  /** By tier, and by tenant if the breaker holds only that tenant back. */
  const shut = new Map<string, { askAt: number }>()
  let searchAt = 0
  let isLong = false
  /** When the last entry that left for a while comes back. */
  let parkedUntil = 0

  const keyOf = (tier: ServiceTier, tenant: string | null) => JSON.stringify([tier, tenant])

  function find(held: Held): { askAt: number } | undefined {
    if (shut.size === 0) return undefined
    const tier = tierOf(held)
    for (const tenant of [null, held.tenant]) {
      const key = keyOf(tier, tenant)
      const known = shut.get(key)
      if (known && now() < known.askAt) return known
      shut.delete(key)
    }
    return undefined
  }

  /** The entries of a hand that wait for tiers other than standard. */
  function findAside(hand: readonly Held[]): Held[] {
    return hand.filter((one) => tierOf(one) !== STANDARD && find(one))
  }

  function isStandardShut(): boolean {
    const known = shut.get(keyOf(STANDARD, null))
    return known !== undefined && now() < known.askAt
  }

  function listShut(): ShutTier[] {
    dropOld()
    return [...shut.keys()].map((key) => JSON.parse(key))
  }

  function dropOld(): void {
    for (const [key, { askAt }] of shut) if (now() >= askAt) shut.delete(key)
  }

  return {
    /** The gate refused this tier for this long. `tenant`: only for the calls of this one. */
    note(tier: ServiceTier, tenant: string | null, waitMs: number): void {
      shut.set(keyOf(tier, tenant), { askAt: now() + Math.min(waitMs, ASK_MS) })
    },

    /** Whether the entry waits for its tier. */
    holds: (held: Held): boolean => find(held) !== undefined,

    isStandardShut,

    /** The tiers that are shut now. */
    listShut,

    /**
     * When to ask the gate again about any shut tier, or to look at the queue. Nothing is due there before `lookAt`.
     */
    nextLook(lookAt: number): number {
      dropOld()
      const asks = [...shut.values()].map(({ askAt }) => askAt)
      return Math.min(now() + ASK_MS, ...asks, isStandardShut() ? Math.max(lookAt, searchAt) : lookAt)
    },

    /**
     * The gate has just refused this tier: which of its entries leave this process, and for how long, ms. A refusal
     * from before lets no entry leave, because an operator may have opened the tier since. `isShut`: the tier stays
     * shut for that time. Otherwise the first entries stay in hand for its next turn.
     */
    chooseLeaving(hand: readonly Held[], tier: ServiceTier, waitMs: number) {
      const aside = findAside(hand)
      const refused = aside.filter((one) => tierOf(one) === tier)
      if (waitMs > HOLD_MS) return { leaving: refused, awayMs: waitMs, isShut: true }
      const leaving = refused.slice(Math.max(0, MOST_ASIDE - (aside.length - refused.length)))
      const soonest = Math.max(now() + PARK_MS, parkedUntil + leaving.length * PARKED_APART_MS)
      const awayMs = Math.min(soonest - now(), LONGEST_PARK_MS)
      if (leaving.length > 0) parkedUntil = now() + awayMs
      return { leaving, awayMs, isShut: false }
    },

    /** If too many entries in hand wait for their tiers, the loop asks the gate again. */
    askWhereMany(hand: readonly Held[]): void {
      if (hand.length <= MOST_ASIDE) return
      const aside = findAside(hand)
      if (aside.length <= MOST_ASIDE) return
      const tiers = new Set(aside.map(tierOf))
      for (const key of shut.keys()) if (tiers.has(JSON.parse(key)[0])) shut.delete(key)
    },

    /** While the standard tier is shut: moves entries of other tiers to the front of the queue. Returns how many. */
    async search(): Promise<number> {
      if (now() < searchAt) return 0
      const { moved, seen } = await queue.bringOtherTiers(MOST_BROUGHT, listShut())
      isLong = seen > FEW_SEEN
      if (moved < MOST_BROUGHT) searchAt = now() + (isLong ? LONG_SEARCH_MS : SEARCH_MS)
      return moved
    },

    /** There may be new work, so the next search need not wait. */
    heard(): void {
      if (!isLong) searchAt = Math.min(searchAt, now() + SOON_MS)
    },
  }
}

export type ShutTiers = ReturnType<typeof createShutTiers>
