import type { Counted } from './limiter.ts'
/** One call that a provider would have billed. */
export type BilledCall = {
  /** Unix milliseconds. */
  at: number
  path: string
  model: string
  /** The hash of endpoint, model and prompt. Two entries with one hash mean that the same call was paid twice. */
  prompt_hash: string
  /** The tokens that it took from the token limit. */
  tokens: number
  inputs: number
  /** The API key of the call, if keys are configured. */
  key?: string
  /** For a line of a batch: the batch, and the line's id in it. */
  batch?: string
  custom_id?: string
}

/** What was admitted and rejected in one second of the clock. */
export type TimelineEntry = { second: number; requests: number; tokens: number; rejected: number }

export type SimulatorState = {
  started_at: number
  calls: number
  by_path: Record<string, Record<string, number>>
  admitted_requests: number
  admitted_tokens: number
  billed_calls: number
  billed_tokens: number
  billed_inputs: number
  /** 429s of the simulator's own limits, by the exhausted limit; faults do not count. */
  rejected: Record<Counted | 'concurrency', number>
  faults: Record<string, number>
  in_flight: number
  peak_concurrency: number
  timeline: TimelineEntry[]
}

export type Recorder = {
  start(): void
  finish(path: string, status: number): void
  admit(tokens: number): void
  reject(by: Counted | 'concurrency'): void
  fault(kind: string): void
  bill(call: Omit<BilledCall, 'at'>): void
  inFlight(): number
  state(): SimulatorState
  calls(): BilledCall[]
  reset(): void
}

const MAX_SECONDS = 3600
const MAX_CALLS = 50_000

/** Counts what tests and benchmarks read. Its memory is bounded. */
export function createRecorder(now: () => number): Recorder {
  let inFlight = 0
  let state = emptyState(now(), inFlight)
  let calls: BilledCall[] = []

  function second(): TimelineEntry {
    const current = Math.floor(now() / 1000)
    const last = state.timeline.at(-1)
    if (last?.second === current) return last
    const entry = { second: current, requests: 0, tokens: 0, rejected: 0 }
    state.timeline.push(entry)
    if (state.timeline.length > MAX_SECONDS) state.timeline.shift()
    return entry
  }

  return {
    start() {
      inFlight += 1
      if (inFlight > state.peak_concurrency) state.peak_concurrency = inFlight
    },
    finish(path, status) {
      inFlight -= 1
      state.calls += 1
      state.by_path[path] ??= {}
      const statuses = state.by_path[path]
      statuses[status] = (statuses[status] ?? 0) + 1
    },
    admit(tokens) {
      state.admitted_requests += 1
      state.admitted_tokens += tokens
      const entry = second()
      entry.requests += 1
      entry.tokens += tokens
    },
    reject(by) {
      state.rejected[by] += 1
      second().rejected += 1
    },
    fault(kind) {
      state.faults[kind] = (state.faults[kind] ?? 0) + 1
    },
    bill(call) {
      state.billed_calls += 1
      state.billed_tokens += call.tokens
      state.billed_inputs += call.inputs
      calls.push({ at: now(), ...call })
      // Cuts only when the list is twice as long, so that the cost of cutting is spread.
      if (calls.length >= MAX_CALLS * 2) calls = calls.slice(-MAX_CALLS)
    },
    inFlight: () => inFlight,
    state: () => ({ ...structuredClone(state), in_flight: inFlight }),
    calls: () => calls.slice(-MAX_CALLS),
    reset() {
      state = emptyState(now(), inFlight)
      calls = []
    },
  }
}

function emptyState(startedAt: number, inFlight: number): SimulatorState {
  return {
    started_at: startedAt,
    calls: 0,
    by_path: {},
    admitted_requests: 0,
    admitted_tokens: 0,
    billed_calls: 0,
    billed_tokens: 0,
    billed_inputs: 0,
    rejected: { requests: 0, tokens: 0, images: 0, audio_seconds: 0, concurrency: 0 },
    faults: {},
    in_flight: inFlight,
    peak_concurrency: inFlight,
    timeline: [],
  }
}
