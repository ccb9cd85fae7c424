import type { Lane } from '../../config/lanes.ts'
import type { Cost } from '../../ratelimit/gate.ts'
import type { Subject } from './ratelimit-subjects.ts'

export type TrafficOptions = {
  subject: Subject
  lane: Lane
  /** Lanes that the takers use in turn; absent: all use `lane`. */
  lanes?: readonly Lane[]
  takers: number
  /** How many ms of true time to run for. */
  durationMs: number
  random: () => number
  nextCost: () => Cost
  /** How much later than the given wait a taker may come back, ms. */
  latenessMs?: number
  /** The longest time of a call, ms. */
  latencyMs?: number
  /** Share of calls whose taker dies without settling. */
  crashShare?: number
  /**
   * Share of calls that settle twice; calls that settle report a smaller actual cost, or that they were never sent.
   */
  twiceShare?: number
  refunds?: boolean
  /** The jumps of the server's clock in ms, and how often, one a second. */
  leap?: { share: number; pick: () => number }
}

/**
 * A call that left. `at` is true time since the start, `logical` the same without jumps back; `counted` is what the
 * provider counts.
 */
export type Departure = { at: number; logical: number; counted: Cost; runsUntil: number }

type Event = { at: number; run: () => Promise<void> }

/** Plays takers against a lane in simulated time, event by event, and answers every call that left. */
export async function runTraffic(options: TrafficOptions): Promise<Departure[]> {
  const { subject, random, nextCost, durationMs } = options
  const { latenessMs = 0, latencyMs = 0, crashShare = 0, twiceShare = 0, refunds = false, leap } = options
  const { gate, clock } = subject
  const start = clock.now
  const departures: Departure[] = []
  const events: Event[] = []
  let time = 0
  let leaps = 0
  let logical = start

  const later = (ms: number, run: Event['run']) => {
    events.push({ at: time + ms, run })
  }
  const startTaker = (lane: Lane) => {
    let cost = nextCost()
    const turn = async (): Promise<void> => {
      const answer = await gate.take(lane, [{ cost }])
      const permit = answer.permits[0]
      if (permit === undefined) return later(answer.waitMs + Math.floor(random() * latenessMs), turn)
      const crashes = random() < crashShare
      const runs = Math.floor(random() * latencyMs)
      const used = refunds && !crashes ? useLess(cost, random) : cost
      departures.push({
        at: time,
        logical: logical - start,
        counted: used ?? { requests: 0, tokens: 0, inputTokens: 0, outputTokens: 0 },
        runsUntil: crashes ? Number.POSITIVE_INFINITY : time + runs,
      })
      if (!crashes) {
        const settle = () => gate.settle(lane, [{ permit, actual: used }])
        later(runs, settle)
        if (random() < twiceShare) later(runs + Math.floor(random() * latencyMs), settle)
      }
      cost = nextCost()
      later(0, turn)
    }
    later(0, turn)
  }
  const lanes = options.lanes ?? [options.lane]
  for (let taker = 0; taker < options.takers; taker++) startTaker(lanes[taker % lanes.length]!)
  if (leap) {
    const leapOn = async (): Promise<void> => {
      if (random() < leap.share) leaps += leap.pick()
      later(1000, leapOn)
    }
    later(500, leapOn)
  }

  let shown = start
  let skew = 0
  for (;;) {
    const event = removeEarliest(events)
    if (event.at >= durationMs) return departures
    time = event.at
    clock.now = start + time + leaps
    // What the gate's logical clock has to be, by the rule alone: it never goes back.
    if (clock.now < shown) skew += shown - clock.now
    shown = clock.now
    logical = Math.max(logical, clock.now + skew)
    await event.run()
  }
}

function removeEarliest(events: Event[]): Event {
  let first = 0
  for (let i = 1; i < events.length; i++) if (events[i]!.at < events[first]!.at) first = i
  return events.splice(first, 1)[0]!
}

/** Never sent, all of it, or a part of its tokens. */
function useLess(cost: Cost, random: () => number): Cost | null {
  const luck = random()
  if (luck < 0.1) return null
  const tokens = Math.ceil(cost.tokens * random())
  return luck < 0.3
    ? cost
    : {
        ...cost,
        tokens,
        inputTokens: Math.min(tokens, cost.inputTokens),
        outputTokens: Math.min(tokens, cost.outputTokens),
      }
}

/** The most that any half-open window of `windowMs` over these arrivals holds. */
export function findFullestWindow(arrivals: { at: number; amount: number }[], windowMs: number): number {
  const sorted = arrivals.toSorted((a, b) => a.at - b.at)
  let most = 0
  let sum = 0
  let first = 0
  for (const { at, amount } of sorted) {
    sum += amount
    while (sorted[first]!.at <= at - windowMs) sum -= sorted[first++]!.amount
    most = Math.max(most, sum)
  }
  return most
}

/** mulberry32: the same numbers for the same seed. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
