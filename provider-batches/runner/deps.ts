import type { Lane } from '../../config/lanes.ts'
import type { BatchSettings } from '../../config/tier-schema.ts'
import type { Claimed } from '../../jobs/claim.ts'
import type { AttemptEnd } from '../../jobs/finish.ts'
import type { Held } from '../../jobs/queue-entry.ts'
import type { Work } from '../../jobs/work.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { BatchLines } from '../../providers/batch-lines.ts'
import type { ProviderSuccess } from '../../providers/provider.ts'
import type { ProviderBatch } from '../batch.ts'
import type { BatchApi } from '../providers/batch-api.ts'
import type { HeldLane, ProviderBatchStore } from '../store.ts'

/** A job that was claimed for a line. */
export type LineJob = { held: Held; claimed: Claimed }

/** A lane with batches. */
export type BatchLane = {
  lane: Lane
  tier: BatchSettings
  api: BatchApi
  lines: BatchLines
  /** The lane as it is asked by one of its sources; null: it has no such source. */
  by: (source: string) => BatchLane | null
  /** The source for a new batch; null: the lane has none. */
  chooseSource: () => Promise<string | null>
}

export type ProviderBatchDeps = {
  store: ProviderBatchStore
  work: Work
  /** The lane as it is configured; null: it has no batches now. */
  laneOf: (id: string) => BatchLane | null
  /** What is sent for a job; null: its answer is known without a call. */
  prepare: (lane: Lane, job: LineJob) => Promise<PreparedLine>
  /** Tells whether jobs are over, in their order. */
  areOver: (jobs: readonly { tenant: string; job: string }[]) => Promise<boolean[]>
  newId: () => string
  /** Unix ms, by Redis' clock. */
  now: () => number
  onError: (error: unknown, what: string) => void
  onEvent: (event: ProviderBatchEvent) => void
}

export type PreparedLine = {
  body: JsonObject
  /** Stores the answer; what it cost and saved, USD. */
  deliver(answer: ProviderSuccess, end: AttemptEnd): Promise<{ costUsd: number; savedUsd: number }>
}

/** What happens to batches, for logs and metrics. */
export type ProviderBatchEvent =
  | { kind: 'created'; batch: ProviderBatch }
  | { kind: 'found'; batch: ProviderBatch; providerId: string }
  | { kind: 'refused'; batch: ProviderBatch; reason: string; isForLater: boolean }
  | { kind: 'cancelling'; batch: ProviderBatch; reason: 'deadline' | 'no_longer_needed' }
  | { kind: 'line'; lane: string; as: 'completed' | 'failed' | 'left' | 'dropped'; savedUsd: number }
  | { kind: 'ended'; batch: ProviderBatch }

/** A batch under way in this process. */
export type BatchRun = {
  held: HeldLane
  batch: ProviderBatch
  lane: BatchLane
  /** Aborts when the process stops, or has lost the lane. */
  signal: AbortSignal
  sleep: (ms: number) => Promise<void>
}

/** How long a job's place is held for its batch, ms: longer than any provider's window. */
const HOLD_MS = 72 * 60 * 60 * 1000

/** The entry of a line as the job store takes it. */
export function toHeld(batch: string, line: { tenant: string; job: string; entry: number }): Held {
  return {
    tenant: line.tenant,
    id: line.job,
    entry: line.entry,
    cost: { tokens: 0, inputTokens: 0, outputTokens: 0, inputs: 1, coalesceKey: null },
    token: batch,
    apart: null,
    throttles: null,
    fallsBackAt: null,
    leaseMs: HOLD_MS,
    bull: null,
    placed: null,
    isDirect: false,
  }
}
