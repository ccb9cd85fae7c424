import type { Lane } from '../../config/lanes.ts'
import { createLimiter } from '../../simulator/limiter.ts'
import { LIMITS_LIKE, type LimitsLikeName } from '../../simulator/limits-like.ts'
import { createRandom } from '../../simulator/random.ts'
import type { Subject } from './ratelimit-subjects.ts'

/** What was admitted of the limits, as shares of what this way could admit, and how often it refused. */
type WayResult = { share: number; refused: number }

export const LIMITS = { requests_per_minute: 1800, tokens_per_minute: 180_000 }
/** Twenty calls of 104 tokens on average. */
const BLOCK = [...Array<number>(15).fill(40), ...Array<number>(4).fill(150), 880]
const HALF_MS = 30_000
const WORKERS = 2
/** A worker asks for so many calls at a time. */
const AT_ONCE = 8

/** The sizes of the calls, each block of twenty in an order of its own. */
export function* sizesOf(random: () => number): Generator<number> {
  for (;;) {
    const block = [...BLOCK]
    while (block.length > 0) yield block.splice(Math.floor(random() * block.length), 1)[0]!
  }
}

/** How late calls leave, and how often and for how long a worker stalls, ms. */
type Machine = {
  /** How much later than permitted a call reaches the provider. */
  lateness(random: () => number): number
  /** Time from one stall of a worker to the next; `started`: ms since the worker's start. */
  betweenStalls(started: number): number
  stall(random: () => number, started: number): number
}
/** A worker that has just started is slow: its code runs for the first time. */
const STARTING_MS = 4000
const exponential = (random: () => number, mean: number) => -Math.log(1 - random()) * mean

/**
 * As measured: most calls leave within some milliseconds, one in ten does not, and after a stall all that wait leave
 * together.
 */
export const MACHINES = {
  quiet: {
    lateness: (random) => (random() < 0.93 ? 2 + random() * 6 : 8 + random() * 22),
    betweenStalls: (started) => (started < STARTING_MS ? 400 : 3000),
    stall: (random, started) => (started < STARTING_MS ? 20 + random() * 130 : 10 + exponential(random, 25)),
  },
  busy: {
    lateness: (random) => (random() < 0.9 ? 3 + random() * 12 : 15 + random() * 45),
    betweenStalls: (started) => (started < STARTING_MS ? 300 : 800),
    stall: (random, started) => (started < STARTING_MS ? 20 + random() * 130 : 10 + exponential(random, 40)),
  },
} satisfies Record<string, Machine>
export type MachineName = keyof typeof MACHINES

/** Until when a worker stalls at `time`, ms after its start; `time` itself if it does not. */
function makeStalls({ betweenStalls, stall }: Machine, random: () => number): (time: number) => number {
  const stalls: { from: number; to: number }[] = []
  for (let time = 0; time < 2 * HALF_MS; ) {
    const from = time + exponential(random, betweenStalls(time))
    time = from + stall(random, time)
    stalls.push({ from, to: time })
  }
  return (time) => stalls.find(({ from, to }) => time >= from && time < to)?.to ?? time
}

type Event = { at: number; run: () => Promise<void> | void }

/**
 * A saturated lane for a minute of simulated time: two workers ask the gate, calls reach the provider's limiter up to
 * 20 ms later, and are answered after 150 to 450 ms (refusals at once).
 *
 * @param options.stalls the workers stand still at times, for 100 to 400 ms, as on a very busy machine
 * @param options.machine calls are late as they are on such a machine, in place of up to 20 ms
 */
export async function runWay(
  subject: Subject,
  lane: Lane,
  way: LimitsLikeName,
  seed: number,
  { stalls = false, machine }: { stalls?: boolean; machine?: MachineName } = {},
): Promise<WayResult> {
  const random = createRandom(seed)
  const { enforcement, window, headers } = LIMITS_LIKE[way]
  const start = subject.clock.now + Math.floor(random() * 60_000)
  const limiter = createLimiter({ limits: LIMITS, enforcement, window })
  const sizes = sizesOf(createRandom(seed + 1))
  const retries: number[] = []
  const queued = () => retries.shift() ?? (sizes.next().value as number)
  const late = machine === undefined ? null : MACHINES[machine]
  const workers = Array.from({ length: WORKERS }, () => {
    const until = late === null ? (time: number) => time : makeStalls(late, random)
    return (time: number) => start + until(time - start)
  })
  const tallies = { refused: 0, late: 0 }
  const events: Event[] = []
  const at = (time: number, run: Event['run']) => {
    let index = events.length
    while (index > 0 && events[index - 1]!.at > time) index--
    events.splice(index, 0, { at: time, run })
  }

  const arrive = (permit: string, tokens: number) => {
    const now = subject.clock.now
    const admission = limiter.take(tokens, now)
    const levels = limiter.levels(now)
    const tells = headers !== 'gemini' && headers !== 'none'
    const feedback = tells
      ? {
          limitRequests: LIMITS.requests_per_minute,
          limitTokens: LIMITS.tokens_per_minute,
          remainingRequests: levels.requests!.remaining,
          remainingTokens: levels.tokens!.remaining,
        }
      : {}
    const cost = { requests: 1, tokens, inputTokens: tokens, outputTokens: 0 }
    if (admission.admitted) {
      if (now - start >= HALF_MS && now - start < 2 * HALF_MS) tallies.late += tokens
      at(now + 150 + random() * 300, () =>
        subject.gate.settle(lane, [{ permit, actual: cost, feedback, outcome: 'ok' }]),
      )
    } else {
      tallies.refused++
      retries.push(tokens)
      const unit = headers === 'openai' || headers === 'azure' || headers === 'gemini' ? 1 : 1000
      const throttledMs = Math.ceil(admission.waitMs / unit) * unit
      at(now + 5 + random() * 10, () =>
        subject.gate.settle(lane, [{ permit, actual: cost, feedback, throttledMs }]),
      )
    }
  }
  const ask = async (held: number[], awake: (time: number) => number): Promise<void> => {
    while (held.length < AT_ONCE) held.push(queued())
    const requests = held.map((tokens) => ({
      cost: { requests: 1, tokens, inputTokens: tokens, outputTokens: 0 },
    }))
    const { permits, waitMs } = await subject.gate.take(lane, requests)
    for (const permit of permits) {
      const tokens = held.shift()!
      const sentAt = late === null ? subject.clock.now : awake(subject.clock.now + 1)
      const lateMs = late === null ? random() * 20 : late.lateness(random)
      at(awake(sentAt + lateMs), () => arrive(permit, tokens))
    }
    const stallMs = stalls && random() < 0.03 ? 100 + random() * 300 : 0
    at(awake(subject.clock.now + Math.max(1, waitMs) + random() * 3 + stallMs), () => ask(held, awake))
  }
  for (const [index, awake] of workers.entries()) at(start + index, () => ask([], awake))
  while (events.length > 0 && events[0]!.at < start + 2 * HALF_MS) {
    const event = events.shift()!
    subject.clock.now = Math.max(subject.clock.now, event.at)
    await event.run()
  }
  return { share: tallies.late / findMost(way, seed), refused: tallies.refused }
}

/**
 * What the way admits in the second half-minute to a client that sees its counters and sends each call, in order, as
 * soon as it passes.
 */
function findMost(way: LimitsLikeName, seed: number): number {
  const { enforcement, window } = LIMITS_LIKE[way]
  // A minute's allowance may all go in its first second: over half a minute the rate is what counts.
  if (window === 60_000) return (LIMITS.tokens_per_minute * HALF_MS) / 60_000
  const limiter = createLimiter({ limits: LIMITS, enforcement, window })
  const sizes = sizesOf(createRandom(seed + 1))
  let now = 0
  let admitted = 0
  for (;;) {
    const tokens = sizes.next().value as number
    for (;;) {
      const admission = limiter.take(tokens, now)
      if (admission.admitted) break
      now += admission.waitMs
    }
    if (now >= 2 * HALF_MS) return admitted
    if (now >= HALF_MS) admitted += tokens
  }
}
