import type { JobCost } from '../../../jobs/job-cost.ts'
import type { Held } from '../../../jobs/queue-entry.ts'

/** An entry in hand, for functions that read only its cost. */
export function heldEntry(id: string, cost: Partial<JobCost> = {}): Held {
  return {
    tenant: 'acme',
    id,
    entry: 1,
    cost: { tokens: 10, inputTokens: 10, outputTokens: 0, inputs: 1, coalesceKey: null, ...cost },
    token: 'token',
    apart: null,
    throttles: null,
    fallsBackAt: null,
    bull: null,
    leaseMs: 8000,
    placed: null,
    isDirect: false,
    started: null,
  }
}
