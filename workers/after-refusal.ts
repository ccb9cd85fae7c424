import { findSlots, type Lane } from '../config/lanes.ts'
import type { LaneQueue } from '../jobs/lane-queue.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { Emit } from '../lib/emitter.ts'
import type { Gate, LaneWaitingFor, TakeAnswer } from '../ratelimit/gate.ts'
import { type ServiceTier, STANDARD } from '../ratelimit/lane-state.ts'
import type { AfterTake } from './after-take.ts'
import type { Hand } from './hand.ts'
import type { HandOff, PutOff } from './hand-off.ts'
import type { LaunchPace } from './launch-pace.ts'
import type { LoopStateOwner } from './loop-state.ts'
import { type PlannedCall, tenantOf } from './plan.ts'
import type { ShutTiers } from './shut-tiers.ts'
import { putOffEntry, tierToTake } from './tier-of-call.ts'

/**
 * While the breaker is not closed, the lane searches this often for a job that may show whether the provider works, ms.
 */
const SEARCH_MS = 400

/** How many entries, besides twice what the gate grants, may stay in hand when the lane slows down. */
const SPARE_HAND = 8

/** A take that did not grant all that it was asked for, and what follows. */
type Refusal = { lane: Lane; answer: TakeAnswer; after: AfterTake; next: PlannedCall }

export type LaneEvents = {
  /** What the lane's entries wait for; emitted when that changes. */
  'lane.refused': { lane: string; waitingFor: LaneWaitingFor }
  /** The gate shut a tier of service other than standard. */
  'tier.shut': { lane: string; tier: ServiceTier }
}

/** Carries out what after-take.ts decides for the entries in hand. */
export function createAfterRefusal(deps: {
  hand: Hand
  state: LoopStateOwner
  queue: Pick<LaneQueue, 'bringForward'>
  shutTiers: ShutTiers
  handOff: HandOff
  pace: LaunchPace
  gate: Pick<Gate, 'read'>
  /** Unix ms, by Redis' clock. */
  now: () => number
  events: Emit<LaneEvents>
}) {
  const { hand, state, queue, shutTiers, handOff, now } = deps
  const tierOf = (one: Held) => tierToTake([one], now())

  /** Call it after the state was told of the answer. `reported`: what the lane was last reported to wait for. */
  async function follow(refusal: Refusal, reported: LaneWaitingFor | null): Promise<void> {
    const { lane, answer, after, next } = refusal
    if (after.kind === 'put_off') {
      hand.take((one) => next.held.includes(one))
      const putOff = after.isOtherTier ? [putOffIn(lane, after.isLong)] : []
      return handOff.spill(next.held, now() + answer.waitMs, ...putOff)
    }
    if (after.kind === 'set_aside') return setAside(refusal, after.tier)
    if (after.kind !== 'wait') return
    // A busy lane is refused between any two grants, so the reason is reported only when it changes.
    if (answer.waitingFor !== null && answer.waitingFor !== reported)
      deps.events.emit('lane.refused', { lane: lane.id, waitingFor: answer.waitingFor })
    if (after.isStandardAlone) shutTiers.note(STANDARD, null, answer.waitMs)
    await queueDirect()
    switch (after.step) {
      case 'make_way':
        return makeWay(refusal)
      case 'give_back_spare':
        return giveBackSpare(lane)
      case 'hold':
        return
      case 'give_back':
        state.tell({ kind: 'given_back' })
        return handOff.giveBackInTurn(takeShut(answer))
      case 'move':
        return move(takeShut(answer), answer.waitMs)
    }
  }

  /**
   * The gate keeps this tier shut while others are open, so its entries must not delay the others. If the tier stays
   * shut, its entries move to the next lane of their route, or are delayed if they have none.
   */
  async function setAside({ lane, answer, after, next }: Refusal, tier: ServiceTier): Promise<void> {
    shutTiers.note(tier, (answer.othersMay && tenantOf(next.held)) || null, answer.waitMs)
    deps.events.emit('tier.shut', { lane: lane.id, tier })
    const direct = hand.take((one) => one.placed !== null && shutTiers.holds(one))
    if (direct.length > 0) await handOff.giveBack(direct)
    const { leaving, awayMs, isShut } = shutTiers.chooseLeaving(hand.entries(), tier, answer.waitMs)
    if (leaving.length === 0) return
    hand.take((one) => leaving.includes(one))
    const until = now() + awayMs
    const putOff = putOffIn(lane, isShut)
    if (after.mayMove) await handOff.spill(leaving, until, putOff)
    else await handOff.delay(leaving, until, putOff)
  }

  function putOffIn(lane: Lane, isCounted: boolean): PutOff {
    return (one, until) => putOffEntry(one, lane, now(), until, isCounted)
  }

  /**
   * The breaker holds the next call back because of its tenant. Jobs of such tenants are given back, and a job that may
   * show whether the provider works goes first.
   */
  async function makeWay({ lane, answer, after }: Refusal): Promise<void> {
    const { breaker } = await deps.gate.read(lane)
    const kept = new Set([...breaker.heldTenants, ...breaker.triedTenants])
    const blocked = hand.take((one) => kept.has(one.tenant) && tierOf(one) === STANDARD)
    if (after.mayMove && blocked.length > 0) return move(blocked, answer.waitMs)
    await handOff.giveBackInTurn(blocked)
    const free = hand.entries().filter((one) => !shutTiers.holds(one))
    const mayLeave = free.some((one) => tierOf(one) !== STANDARD)
    const until = mayLeave ? 0 : performance.now() + Math.min(answer.waitMs, SEARCH_MS)
    state.tell({ kind: 'searching', until })
    if (free.length === 0 && (await queue.bringForward([...kept], shutTiers.listShut())))
      state.tell({ kind: 'reopened' })
  }

  /**
   * Gives back entries that were prefetched while the lane let everything through, and that now delay entries with
   * earlier turns.
   */
  async function giveBackSpare(lane: Lane): Promise<void> {
    // Entries that leave within half a second delay nobody for long, and giving them back costs as much. If few calls
    // run at once and each takes long, each entry in hand delays an earlier turn by a whole call.
    const slots = Math.ceil(findSlots(lane) / 4)
    const { count } = state.now().fetch
    const most = Math.max(Math.min(2 * count + SPARE_HAND, slots), deps.pace.perSpan())
    if (lane.coalesce || hand.size() <= most) return
    state.tell({ kind: 'given_back' })
    await handOff.giveBackInTurn(hand.takeAllBut(Math.min(count, most)))
  }

  /** Directly dispatched jobs that have to wait are queued, and wait for their turn. */
  async function queueDirect(): Promise<void> {
    const back = hand.take((one) => one.placed !== null)
    if (back.length > 0) await handOff.giveBack(back)
  }

  /**
   * For a long pause: jobs that another lane can serve move there, and the others are delayed until this lane opens.
   */
  async function move(some: Held[], waitMs: number): Promise<void> {
    state.tell({ kind: 'moving_on' })
    await handOff.spill(some, now() + waitMs)
  }

  /** Takes what a pause holds back: all entries, or only those of the standard tier if other tiers may go. */
  function takeShut({ otherTiersMay }: TakeAnswer): Held[] {
    return hand.take((one) => otherTiersMay !== true || tierOf(one) === STANDARD)
  }

  return { follow }
}
