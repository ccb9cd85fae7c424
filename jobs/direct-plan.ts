import { type DirectMessage, directToken } from './direct-dispatch.ts'
import { entryOf } from './new-entry.ts'
import type { NewJob } from './new-job.ts'
import type { DirectWorker } from './open-lanes.ts'
import type { Argument } from './scripts.ts'

/** How a job goes straight to a worker. `start`: the create script starts its call; null: the worker starts it. */
export type DirectPlan = { worker: DirectWorker; start: StartPlan | null }

/** What the create script needs to start the call of a job for a worker. */
export type StartPlan = {
  /** See `Queues.waitingKeys`. */
  waiting: readonly string[]
  /** The gate's keys and arguments for the lane, and what the call takes from it. */
  keys: readonly string[]
  args: readonly Argument[]
  amounts: readonly number[]
  tenant: string
  source: string
  tier: string
  /** As `encodeIntent` of claim.ts writes it. */
  intent: string
  /** How long the job's place in the outbox keeps the job for the worker, ms. */
  leaseMs: number
}

/** The message for the worker that the job goes to. */
export function encodeMessage(
  { job, id, hash }: { job: NewJob; id: string; hash: string },
  { start }: DirectPlan,
): string {
  const entry: DirectMessage = entryOf({ job, id }, 0)
  if (start !== null) {
    entry.call = {
      type: job.type,
      model: job.model,
      maxAttempts: job.maxAttempts,
      timeoutMs: job.timeoutMs,
      unfitLanes: job.unfitLanes ?? [],
      hash,
      cacheMode: job.cache,
      isShownLive: job.isShownLive === true,
      requestId: job.requestId ?? null,
      trace: job.trace ?? null,
    }
  }
  return JSON.stringify(entry)
}

/**
 * How the script starts the job for this worker, in lines: the token of the claim; the lease in ms; what the call takes (requests, tokens,
 * input tokens, output tokens); its tenant, source and tier; the intent. `take_for` of lua/start-here.lua reads it.
 */
export function encodeStart({ name }: DirectWorker, start: StartPlan): string {
  const { leaseMs, amounts, tenant, source, tier, intent } = start
  return [directToken(name), leaseMs, ...amounts, tenant, source, tier, intent].join('\n')
}
