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

/** A lane with provider batches. */
export type BatchLane = {
  lane: Lane
  tier: BatchSettings
  /** Takes no more jobs: its batches were turned off. Those that are open go on. */
  isClosed: boolean
  api: BatchApi
  lines: BatchLines
  /** The lane with one of its sources; null: it has no such source. */
  by: (source: string) => BatchLane | null
  /** Chooses the source for a new batch; null: the lane has none. */
  chooseSource: () => Promise<string | null>
}

export type ProviderBatchDeps = {
  store: ProviderBatchStore
  work: Work
  /** The lane of the current configuration; null: there is none. */
  laneOf: (id: string) => BatchLane | null
  /** Prepares a job's line: the body to send, and how to store the answer. */
  prepare: (lane: Lane, job: LineJob) => Promise<PreparedLine>
  /** Whether each of these jobs is over, in the same order. */
  areOver: (jobs: readonly { tenant: string; job: string }[]) => Promise<boolean[]>
  newId: () => string
  /** Unix ms, by Redis' clock. */
  now: () => number
  onError: (error: unknown, what: string) => void
  onEvent: (event: ProviderBatchEvent) => void
}

export type PreparedLine = {
  body: JsonObject
  /** Stores the answer. Returns what it cost and saved, USD. */
  deliver(answer: ProviderSuccess, end: AttemptEnd): Promise<{ costUsd: number; savedUsd: number }>
}

/** Events about batches, for logs and metrics. */
export type ProviderBatchEvent =
  | { kind: 'created'; batch: ProviderBatch }
  | { kind: 'found'; batch: ProviderBatch; providerId: string }
  | { kind: 'refused'; batch: ProviderBatch; reason: string; isForLater: boolean }
  | { kind: 'cancelling'; batch: ProviderBatch; reason: 'deadline' | 'no_longer_needed' }
  | { kind: 'line'; lane: string; as: 'completed' | 'failed' | 'left' | 'dropped'; savedUsd: number }
  | { kind: 'ended'; batch: ProviderBatch }

/** A batch that runs in this process. */
export type BatchRun = {
  held: HeldLane
  batch: ProviderBatch
  lane: BatchLane
  /** How often it failed in this process before. */
  failures: number
  /** Aborts when the process stops or has lost the lane. */
  signal: AbortSignal
  sleep: (ms: number) => Promise<void>
}

/** How long a job's lease lasts for its batch, ms: longer than any provider's window. */
const HOLD_MS = 72 * 60 * 60 * 1000

/** The line as the job store expects it. */
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
    started: null,
  }
}
