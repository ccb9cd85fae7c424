import type { LaneWaitingFor, TakeAnswer } from '../ratelimit/gate.ts'
import type { AfterTake } from './after-take.ts'

/**
 * How often an idle lane looks at its queue, in case a wake-up is lost: ms after the first empty look, and the longest
 * wait. The wait doubles with each empty look.
 */
const IDLE_MS = 1000
const MOST_IDLE_MS = 5000

/** The longest time until the gate is asked again, ms. */
const LONGEST_SHUT_MS = 1000

/** Most entries prefetched while the lane lets everything through. */
export const MOST_AHEAD = 64

/**
 * What a lane's loop knows of its queue.
 *
 *             look                got as many as it asked for, or a hint came
 *   unseen ──────────▶ looking ────────────────────────────────────────────────────▶ unseen
 *     ▲                 │   ▲
 *     │     got fewer,  │   │ look, when `lookAt` has come
 *     │  or found empty ▼   │
 *     └──────────────── empty
 *      hint, or entries
 *      were given back
 *
 * `nextDue`: whether the loop knows when the next delayed entry is due. `restMs`: how long it rests after the next empty look.
 */
export type KnownQueue =
  | { kind: 'unseen' }
  | { kind: 'looking'; wasEmpty: boolean; restMs: number; nextDue: NextDue }
  | { kind: 'empty'; lookAt: number; restMs: number; nextDue: NextDue }

/** `asked`: the question is under way, and no entry was delayed since. */
type NextDue = 'unknown' | 'asked' | 'known'

/**
 * What the gate said last.
 *
 *            it refused a call
 *   open ────────────────────────▶ refused ──┐ refused again
 *     ▲                             │   ▲────┘
 *     └─────────────────────────────┘
 *            it granted all
 *
 * `until`: the gate need not be asked before; 0 if there is a reason to ask now (a slot is free, or other entries are in hand).
 */
export type KnownGate =
  | { kind: 'open' }
  | { kind: 'refused'; waitingFor: LaneWaitingFor | null; until: number }

/** All that a lane's loop decides by, besides the entries in hand. Times are those of `performance.now`. */
export type LoopState = {
  queue: KnownQueue
  gate: KnownGate
  /** How many entries the next fetch asks for, and whether the last fetch brought as many as it asked for. */
  fetch: { count: number; wasFull: boolean }
  /** The breaker looks at the tenants of calls, so no two tenants share a request. */
  isProbing: boolean
  /** Whether the lane was paused since the last call that got a permit. */
  wasPaused: boolean
  /** What the lane was last reported to wait for; null: nothing was reported since it ran empty. */
  reported: LaneWaitingFor | null
}

/** What changes the state of a loop. */
export type LoopEvent =
  /** There may be work in the queue. */
  | { kind: 'hint' }
  /** An entry of this lane was delayed: it may be due before the others. */
  | { kind: 'entry_delayed' }
  /** A look at the queue begins. */
  | { kind: 'look' }
  | { kind: 'fetched'; asked: number; count: number; now: number }
  /** Nothing waits in the queue, neither due nor delayed. */
  | { kind: 'found_empty'; now: number }
  /** Nothing is left in hand. */
  | { kind: 'ran_empty' }
  /** When the next delayed entry is due; null: none is delayed. */
  | { kind: 'due'; at: number | null }
  /** The gate gave this answer, and this follows from it. */
  | { kind: 'answered'; answer: TakeAnswer; after: AfterTake; now: number }
  /** Entries go back to the queue. */
  | { kind: 'given_back' }
  /** The entries in hand leave for other lanes, and those that wait behind them should follow at once. */
  | { kind: 'moving_on' }
  /** The breaker waits for a call of another tenant. The loop searches the queue for one until then. */
  | { kind: 'searching'; until: number }
  /** There is a reason to ask the gate again. */
  | { kind: 'reopened' }
  | { kind: 'call_ended' }

/** The state of a loop that has not looked yet. */
export const START: LoopState = {
  queue: { kind: 'unseen' },
  gate: { kind: 'open' },
  fetch: { count: 1, wasFull: false },
  isProbing: false,
  wasPaused: false,
  reported: null,
}

/** The state after an event. */
export function advance(state: LoopState, event: LoopEvent): LoopState {
  const { queue, gate, fetch } = state
  switch (event.kind) {
    case 'hint':
    case 'given_back':
      return { ...state, queue: { kind: 'unseen' } }
    case 'entry_delayed':
      return queue.kind === 'unseen' ? state : { ...state, queue: { ...queue, nextDue: 'unknown' } }
    case 'look': {
      const restMs = queue.kind === 'unseen' ? IDLE_MS : queue.restMs
      return { ...state, queue: { kind: 'looking', wasEmpty: foundEmpty(state), restMs, nextDue: 'asked' } }
    }
    case 'fetched': {
      const { asked, count, now } = event
      return { ...state, queue: afterFetch(queue, asked, count, now), fetch: nextFetch(fetch, asked, count) }
    }
    case 'found_empty':
      return queue.kind === 'looking'
        ? { ...state, queue: rest(event.now, queue.restMs, queue.nextDue === 'asked' ? 'known' : 'unknown') }
        : state
    case 'ran_empty': {
      // When a lane runs empty, the store forgets what it waited for (ratelimit/lua/tag.lua).
      const asks = queue.kind === 'empty' && queue.nextDue !== 'known'
      return { ...state, reported: null, queue: asks ? { ...queue, nextDue: 'asked' } : queue }
    }
    case 'due': {
      if (queue.kind !== 'empty' || queue.nextDue !== 'asked') return state
      const lookAt = event.at === null ? queue.lookAt : Math.min(queue.lookAt, event.at)
      return { ...state, queue: { ...queue, lookAt, nextDue: 'known' } }
    }
    case 'answered':
      return afterAnswer(state, event.answer, event.after, event.now)
    case 'moving_on':
      return { ...state, gate: reopen(gate), fetch: { ...fetch, count: MOST_AHEAD } }
    case 'searching':
      return {
        ...state,
        queue: { kind: 'unseen' },
        gate: gate.kind === 'open' ? gate : { ...gate, until: event.until },
        fetch: { ...fetch, count: 1 },
      }
    case 'reopened':
      return { ...state, gate: reopen(gate) }
    case 'call_ended':
      // Its slot is free.
      return gate.kind === 'refused' && gate.waitingFor === 'concurrency'
        ? { ...state, gate: reopen(gate) }
        : state
  }
}

/** Whether the loop should look at its queue. */
export function isLookDue({ queue }: LoopState, now: number): boolean {
  return queue.kind !== 'empty' || now >= queue.lookAt
}

/** When to look at the queue next; 0: now. */
export function nextLookAt({ queue }: LoopState): number {
  return queue.kind === 'empty' ? queue.lookAt : 0
}

/** Whether the latest look left nothing in the queue, and no hint came since. */
export function foundEmpty({ queue }: LoopState): boolean {
  return queue.kind === 'empty' || (queue.kind === 'looking' && queue.wasEmpty)
}

/** Whether the looks before this one found nothing either. */
export function isResting({ queue }: LoopState): boolean {
  return queue.kind !== 'unseen' && queue.restMs > IDLE_MS
}

/** Until when the gate need not be asked; 0: it may be asked now. */
export function shutUntil({ gate }: LoopState): number {
  return gate.kind === 'refused' ? gate.until : 0
}

/** What calls of this lane waited for. */
export function waitedFor({ gate }: LoopState): LaneWaitingFor | null {
  return gate.kind === 'refused' ? gate.waitingFor : null
}

function afterFetch(queue: KnownQueue, asked: number, count: number, now: number): KnownQueue {
  if (queue.kind !== 'looking' || count === asked) return { kind: 'unseen' }
  return rest(now, count > 0 ? IDLE_MS : queue.restMs, 'unknown')
}

/**
 * The next fetch asks for as many entries as the last one brought: one from an empty queue, many from a full one. It
 * doubles only after two full fetches, because a single job is no reason to ask for two.
 */
function nextFetch(fetch: LoopState['fetch'], asked: number, count: number): LoopState['fetch'] {
  if (count < asked) return { count: Math.max(1, count), wasFull: false }
  return { count: fetch.wasFull ? Math.min(MOST_AHEAD, fetch.count * 2) : fetch.count, wasFull: true }
}

function rest(now: number, restMs: number, nextDue: NextDue): KnownQueue {
  return { kind: 'empty', lookAt: now + restMs, restMs: Math.min(MOST_IDLE_MS, 2 * restMs), nextDue }
}

function afterAnswer(state: LoopState, answer: TakeAnswer, after: AfterTake, now: number): LoopState {
  const isPaused = answer.waitingFor === 'provider_pause' && !after.isOtherTier
  const next = {
    ...state,
    isProbing: answer.othersMay === true,
    wasPaused: (state.wasPaused && answer.permits.length === 0) || isPaused,
  }
  if (after.kind === 'all_granted') return { ...next, gate: { kind: 'open' } }
  if (after.kind !== 'wait') return next
  const until = after.isStandardAlone ? 0 : now + Math.min(answer.waitMs, LONGEST_SHUT_MS)
  return {
    ...next,
    gate: { kind: 'refused', waitingFor: answer.waitingFor, until },
    fetch: { ...state.fetch, count: Math.max(1, answer.permits.length) },
    reported: answer.waitingFor ?? state.reported,
  }
}

function reopen(gate: KnownGate): KnownGate {
  return gate.kind === 'open' ? gate : { ...gate, until: 0 }
}

/** The state of one loop, for the parts that read and change it. */
export type LoopStateOwner = { now(): LoopState; tell(event: LoopEvent): void }

export function ownLoopState(): LoopStateOwner {
  let state = START
  return {
    now: () => state,
    tell(event) {
      state = advance(state, event)
    },
  }
}
