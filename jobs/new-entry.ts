import type { JobCost } from './job-cost.ts'
import type { NewJob } from './new-job.ts'
import type { QueueEntry } from './queue-entry.ts'

/** True for a job that asks for a time, even one in the past. */
export function isForLater({ runAt, delayMs = 0 }: Pick<NewJob, 'runAt' | 'delayMs'>): boolean {
  return runAt !== null || delayMs > 0
}

/** When a job that was created at this time may start, Unix ms; null: at once. `create.lua` decides the same. */
export function startOf({ runAt, delayMs = 0 }: NewJob, createdAt: number): number | null {
  const at = runAt ?? createdAt + delayMs
  return at > createdAt ? at : null
}

/** The cost as stored. `JobCost` tells what missing members mean. */
export function withoutDefaults({ choices, ...cost }: JobCost): JobCost {
  return choices === undefined || choices === 1 ? cost : { ...cost, choices }
}

/**
 * The first queue entry of a job.
 *
 * @param createdAt Unix ms, as the create script answered
 */
export function entryOf({ job, id }: { job: NewJob; id: string }, createdAt: number): QueueEntry {
  return {
    tenant: job.tenant,
    id,
    entry: 1,
    lane: job.lane,
    priority: job.priority,
    notBefore: startOf(job, createdAt),
    cost: withoutDefaults(job.cost),
    ...(job.gather === undefined ? {} : { gather: job.gather }),
  }
}
