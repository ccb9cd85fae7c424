import { Counter, Histogram, type Registry } from '@prometheus-io/client'
import type { LabelBounds } from './label-bound.ts'

/** A finished call. */
export type CallEvent = {
  lane: string
  type: string
  outcome: string
  /** HTTP status; null: there was no answer. */
  status: number | null
  /** For each of its jobs: the time from when it could have started to its claim. */
  waitedMs: readonly number[]
  /** Of all these jobs together. */
  inputs: number
  latencyMs: number
  /** Time to the first chunk of a stream. */
  firstChunkMs: number | null
}

/** The outcome of a job; see workers/work-event.ts. */
type WorkEvent =
  | { kind: 'retried'; tenant: string; lane: string; type: string; reason: string; costUsd?: number }
  | {
      kind: 'ended'
      tenant: string
      lane: string
      type: string
      status: string
      source: string
      usage: { input_tokens: number; output_tokens: number; cached_input_tokens?: number } | null
      costUsd: number
      /** Savings by the prompt cache. */
      savedUsd?: number
    }

/** Seconds. */
const WAIT_BUCKETS = [0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200]
const CALL_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]
const FIRST_TOKEN_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60]

/** Metrics of provider calls and the outcomes of their jobs. */
export function createWorkMetrics(registry: Registry, bounds: LabelBounds) {
  const registers = [registry]
  const ofCall = ['lane', 'type'] as const
  const wait = new Histogram({
    name: 'sluice_job_wait_seconds',
    help: 'Time from when a job could have started (creation, scheduled time, retry) to its claim for a call.',
    labelNames: ofCall,
    buckets: WAIT_BUCKETS,
    registers,
  })
  const ended = new Counter({
    name: 'sluice_jobs_ended_total',
    help: 'Jobs that workers ended, by the source of the answer: a call, the cache (hit) or the call of another job (shared).',
    labelNames: ['lane', 'type', 'status', 'source'] as const,
    registers,
  })
  const retries = new Counter({
    name: 'sluice_job_retries_total',
    help: 'Jobs that were requeued after a call, by reason.',
    labelNames: ['lane', 'type', 'reason'] as const,
    registers,
  })
  const calls = new Counter({
    name: 'sluice_provider_calls_total',
    help: 'Calls to providers, by outcome and HTTP status; throttled: 429 for the rate.',
    labelNames: ['lane', 'type', 'outcome', 'status'] as const,
    registers,
  })
  const shuts = new Counter({
    name: 'sluice_source_shuts_total',
    help: 'How often a source of a lane was disabled because the provider refused its key or account, or its credit was used up.',
    labelNames: ['lane', 'source'] as const,
    registers,
  })
  const duration = new Histogram({
    name: 'sluice_provider_call_duration_seconds',
    help: 'Time from sending a call to the end of its answer.',
    labelNames: ofCall,
    buckets: CALL_BUCKETS,
    registers,
  })
  const firstToken = new Histogram({
    name: 'sluice_provider_first_token_seconds',
    help: 'Time from sending a streamed call to the first chunk of its answer.',
    labelNames: ofCall,
    buckets: FIRST_TOKEN_BUCKETS,
    registers,
  })
  const carried = new Counter({
    name: 'sluice_provider_call_jobs_total',
    help: 'Jobs of calls; divided by the number of calls this is the coalescing factor.',
    labelNames: ofCall,
    registers,
  })
  const inputs = new Counter({
    name: 'sluice_provider_call_inputs_total',
    help: 'Inputs of those jobs; 1 for each that is not an embedding.',
    labelNames: ofCall,
    registers,
  })
  const tokens = new Counter({
    name: 'sluice_tokens_total',
    help: 'Tokens of calls, as counted by providers, or estimated.',
    labelNames: ['lane', 'direction'] as const,
    registers,
  })
  const cached = new Counter({
    name: 'sluice_cached_input_tokens_total',
    help: "Input tokens of calls that were read from the provider's prompt cache.",
    labelNames: ['lane'] as const,
    registers,
  })
  const saved = new Counter({
    name: 'sluice_prompt_cache_saved_usd_total',
    help: "Savings by the provider's prompt cache compared with the price of uncached input.",
    labelNames: ['lane'] as const,
    registers,
  })
  const cost = new Counter({
    name: 'sluice_cost_usd_total',
    help: 'Cost of calls by the configured prices, including interrupted calls.',
    labelNames: ['lane', 'tenant'] as const,
    registers,
  })

  return {
    onCall(call: CallEvent): void {
      const labels = { lane: bounds.lane(call.lane), type: call.type }
      calls.inc({ ...labels, outcome: call.outcome, status: call.status ?? 'none' })
      duration.observe(labels, call.latencyMs / 1000)
      if (call.firstChunkMs !== null) firstToken.observe(labels, call.firstChunkMs / 1000)
      carried.inc(labels, call.waitedMs.length)
      for (const ms of call.waitedMs) wait.observe(labels, ms / 1000)
      inputs.inc(labels, call.inputs)
    },
    onSourceShut({ lane, source }: { lane: string; source: string }): void {
      shuts.inc({ lane: bounds.lane(lane), source })
    },
    onWork(event: WorkEvent): void {
      const lane = bounds.lane(event.lane)
      const { type } = event
      if (event.kind === 'retried') {
        retries.inc({ lane, type, reason: event.reason })
        if (event.costUsd) cost.inc({ lane, tenant: bounds.tenant(event.tenant) }, event.costUsd)
        return
      }
      ended.inc({ lane, type, status: event.status, source: event.source })
      // The usage of shared calls is counted with the call that paid for it.
      if (event.source !== 'call' || event.usage === null) return
      tokens.inc({ lane, direction: 'input' }, event.usage.input_tokens)
      tokens.inc({ lane, direction: 'output' }, event.usage.output_tokens)
      if (event.usage.cached_input_tokens) cached.inc({ lane }, event.usage.cached_input_tokens)
      if (event.savedUsd) saved.inc({ lane }, event.savedUsd)
      cost.inc({ lane, tenant: bounds.tenant(event.tenant) }, event.costUsd)
    },
  }
}
