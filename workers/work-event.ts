import type { Usage } from '../jobs/job.ts'

type OfJob = { tenant: string; lane: string; type: string }

/** What became of a job in a worker's hands, for whoever counts. */
export type WorkEvent =
  /**
   * Put back after a call. `stopped`: the worker stops, or the job was cancelled; `input_rejected`: it goes again apart
   * from those that it shared a request with.
   */
  | (OfJob & {
      kind: 'retried'
      reason: 'throttled' | 'retryable' | 'timeout' | 'rerouted' | 'stopped' | 'input_rejected'
      /** What the call costs all the same. */
      costUsd?: number
    })
  /** Ended. `source` of a completed one: its own call, a kept answer, or the call of another job. */
  | (OfJob & {
      kind: 'ended'
      status: 'completed' | 'failed'
      source: 'call' | 'hit' | 'shared'
      usage: Usage | null
      costUsd: number
    })
