/**
 * Finds how many calls at once a server of unknown capacity can serve (`max_concurrency: auto`), by hill climbing. It tries a number of
 * calls for a while, then the next one, a little higher or lower. It continues in this direction while the gain in calls a second (calls
 * at once divided by their time) is worth more than the loss in time (see `PATIENCE`), and turns round otherwise.
 *
 * The time of a call is the time to its first token plus the time of its other tokens, both for an answer of the mean length: a long
 * answer does not mean a slow server. Only calls count that began and ended under the number on trial, while that many ran.
 *
 * `lua/adapt.lua` does the same, operation for operation.
 */
type ConcurrencyState = {
  /** Calls at once; a whole number from 1. */
  limit: number
  /** Logical ms since which this limit is on trial. */
  since: number
  /** 1: the limit goes up, -1: it goes down. */
  direction: 1 | -1
  /** The size of the next move: the natural logarithm of the ratio of two limits. */
  step: number
  /** Mean number of output tokens of a call, over the last trials; 0: unknown. */
  tokens: number
  /** The measurements under this limit so far. */
  sums: Sums
  /** The best limit so far, and its measurements; `limit` 0: none. */
  base: Measured
  /** Trials in a row that were better than the base, and that were not. */
  gains: number
  losses: number
  /** Calls in a row that took far too long. */
  alarms: number
  /** Logical ms at which the limit was last lowered. Calls from before may be slow because more of them ran. */
  loweredAt: number
  /** Whether a call has begun and ended since then. */
  isDrained: boolean
}

type Sums = { calls: number; firstMs: number; restMs: number; tokens: number }
type Measured = { limit: number; firstMs: number; tokenMs: number }

/** What one call tells about its server. */
export type CallTiming = {
  latencyMs: number
  /** Time to the first token, ms; null: the answer came whole, and all of its time counts for its tokens. */
  firstTokenMs: number | null
  /** 0 if the answer has no tokens, as with embeddings. */
  outputTokens: number
  /** The server refused or broke the call because it is overloaded. */
  overloaded: boolean
}

/** A call that ended. `inFlight`: calls of the lane that ran until now, this one included. */
type HeardCall = { timing: CallTiming; inFlight: number }

const FIRST_LIMIT = 2
const MOST = 1000
/** How much a percent more time a call counts against a percent more calls a second. Above 1: calls should wait here and not in the server. */
const PATIENCE = 1.25
const FIRST_STEP = 0.69
const SMALLEST_STEP = 0.1
const LARGEST_STEP = 0.69
/** How the step changes after a gain and after a loss. */
const GROWTH = 1.4
const SHRINK = 0.5
/** A change of time by more than this against the direction has another cause: the server has changed. */
const CHANGED = 0.15
const CHANGED_STEP = 0.35
/** Calls of a trial. A small move needs more, because its effect is small. */
const FEWEST_CALLS = 3
const MOST_CALLS = 24
/** A limit counts as used while this share of it runs. */
const USED = 0.9
/** A call that takes this many times the expected time is an alarm. The expected time grows at most with this power of the calls at once. */
const ALARM = 2
const ALARM_POWER = 2
/** The cut after alarms: this power of how much longer calls take, at most down to this share of the limit. */
const ALARM_SHARE = 0.6
const DEEPEST_CUT = 0.2
/** A share of the limit that may wait inside the server. */
const QUEUED = 0.1
const BACK_OFF = 0.7
const MEMORY = 0.2

export function createConcurrency(): ConcurrencyState {
  return {
    limit: FIRST_LIMIT,
    since: 0,
    direction: 1,
    step: FIRST_STEP,
    tokens: 0,
    sums: { calls: 0, firstMs: 0, restMs: 0, tokens: 0 },
    base: { limit: 0, firstMs: 0, tokenMs: 0 },
    gains: 0,
    losses: 0,
    alarms: 0,
    loweredAt: 0,
    isDrained: true,
  }
}

/**
 * Learns from a call that ended. Calls that do not fit the bounds of alarms and trials change nothing.
 *
 * @param now logical ms
 */
export function hearCall(state: ConcurrencyState, { timing, inFlight }: HeardCall, now: number): void {
  const { latencyMs, firstTokenMs, outputTokens, overloaded } = timing
  // If a clock went back, every later call would look older than the current limit.
  state.since = Math.min(state.since, now)
  state.loweredAt = Math.min(state.loweredAt, now)
  if (now - latencyMs >= state.loweredAt) state.isDrained = true
  if (hearAlarm(state, { timing, inFlight }, now) || now - latencyMs < state.since) return
  if (overloaded) {
    state.base = { limit: 0, firstMs: 0, tokenMs: 0 }
    moveTo(state, Math.floor(state.limit * BACK_OFF), now)
    return
  }
  if (inFlight < state.limit * USED) return
  const { sums } = state
  const firstMs = firstTokenMs ?? 0
  sums.calls += 1
  sums.firstMs += firstMs
  sums.restMs += latencyMs - firstMs
  sums.tokens += Math.max(1, outputTokens)
  const needed = Math.max(state.limit, Math.ceil(FEWEST_CALLS * (LARGEST_STEP / state.step)))
  if (sums.calls >= Math.min(MOST_CALLS, needed)) decide(state, now)
}

/**
 * Learns how many requests wait inside the server, because it got more calls than it serves at once. A few do not matter. After the
 * limit was lowered, this changes nothing until a call has begun and ended, because the queue takes time to drain.
 */
export function hearQueue(state: ConcurrencyState, waiting: number, now: number): void {
  const { base, limit } = state
  if (!state.isDrained || waiting <= Math.max(1, limit * QUEUED)) return
  state.gains = 0
  state.step = SMALLEST_STEP
  if (base.limit > 0 && limit > base.limit) {
    state.direction = -1
    moveTo(state, base.limit, now)
    return
  }
  state.direction = 1
  state.base = { limit: 0, firstMs: 0, tokenMs: 0 }
  moveTo(state, limit - Math.floor(waiting), now)
}

/** True if enough calls in a row took so much longer than expected that the server must have lost capacity. */
function hearAlarm(state: ConcurrencyState, { timing, inFlight }: HeardCall, now: number): boolean {
  const { base, limit, tokens } = state
  if (base.limit === 0 || timing.overloaded || inFlight < limit * USED) return false
  if (now - timing.latencyMs < state.loweredAt) return false
  const firstMs = timing.firstTokenMs ?? 0
  const tokenMs = (timing.latencyMs - firstMs) / Math.max(1, timing.outputTokens)
  const ratio = timeOf({ limit, firstMs, tokenMs }, tokens) / timeOf(base, tokens)
  const expected = Math.max(1, limit / base.limit) ** ALARM_POWER
  state.alarms = ratio > ALARM * expected ? state.alarms + 1 : 0
  if (state.alarms < Math.max(FEWEST_CALLS, limit / 4)) return false
  state.alarms = 0
  state.base = { limit: 0, firstMs: 0, tokenMs: 0 }
  state.direction = 1
  state.step = CHANGED_STEP
  moveTo(state, Math.floor(limit * Math.max(DEEPEST_CUT, (ratio / expected) ** -ALARM_SHARE)), now)
  return true
}

function decide(state: ConcurrencyState, now: number): void {
  const { sums, limit, base } = state
  const mean = sums.tokens / sums.calls
  state.tokens = state.tokens === 0 ? mean : state.tokens + MEMORY * (mean - state.tokens)
  const found = { limit, firstMs: sums.firstMs / sums.calls, tokenMs: sums.restMs / sums.tokens }
  const slower = base.limit === 0 ? 0 : Math.log(timeOf(found, state.tokens) / timeOf(base, state.tokens))
  const more = base.limit === 0 ? 0 : Math.log(limit / base.limit)
  if (more === 0) {
    // The base itself. If its time has changed, the server has changed: search with larger steps.
    if (Math.abs(slower) > CHANGED) {
      state.step = CHANGED_STEP
      state.direction = slower > 0 ? -1 : 1
    }
    state.base = found
    state.losses = 0
  } else if (more > PATIENCE * slower || (more < 0 && slower > CHANGED)) {
    // Better than the base; or slower with fewer calls, so that the base is out of date.
    state.base = found
    state.losses = 0
    state.gains += 1
    if (state.gains > 1) state.step = Math.min(LARGEST_STEP, state.step * GROWTH)
  } else {
    state.losses += 1
    state.gains = 0
    state.direction = state.direction === 1 ? -1 : 1
    state.step = Math.max(SMALLEST_STEP, state.step * SHRINK)
  }
  moveTo(state, state.losses === 2 ? base.limit : nextTo(state.base.limit, state), now)
}

/** The limit one step away. From 1 it can only go up. */
function nextTo(limit: number, state: ConcurrencyState): number {
  if (limit === 1) state.direction = 1
  const next = Math.round(limit * Math.exp(state.direction * state.step))
  return state.direction === 1 ? Math.max(limit + 1, next) : Math.min(limit - 1, next)
}

function timeOf({ firstMs, tokenMs }: Measured, tokens: number): number {
  return Math.max(0.001, firstMs + tokenMs * tokens)
}

function moveTo(state: ConcurrencyState, limit: number, now: number): void {
  if (limit < state.limit) {
    state.loweredAt = now
    state.isDrained = false
  }
  state.limit = Math.min(MOST, Math.max(1, limit))
  state.since = now
  state.sums = { calls: 0, firstMs: 0, restMs: 0, tokens: 0 }
}
