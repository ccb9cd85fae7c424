import { createHash } from 'node:crypto'
import { type JobRow, RowState } from './tables.ts'
import type { UsageContribution } from './usage-sums.ts'

/**
 * A job that has ended, as Redis holds it: encrypted fields stay encrypted. `record` lacks body and result. It has `key` if the job
 * was created with an idempotency key. No text contains a NUL, which PostgreSQL refuses.
 */
export type FinishedJob = {
  id: string
  record: Record<string, string>
  /** Null: contents are not kept. */
  body: Buffer | null
  /** `key`: its key in `history_contents`; jobs that share an answer have the same one. */
  result: { key: string; value: Buffer } | null
  /** JSON texts: the record, the fields of `…:job:<id>:attempts`, and the fields of each delivery, the oldest first. */
  texts: { record: string; attempts: string; deliveries: string }
  /** The ids of its deliveries. */
  deliveries: readonly string[]
  eventCount: number
  schedule: string | null
  usage: UsageContribution
  /** Redis does not know of a copy in the history. */
  isNew?: boolean
  /** Redis knows that the history has it with this status and cost, so its row keeps its block. */
  isMarked?: boolean
}

type StoredError = { code?: string; retryable?: boolean }

/** Converts a finished job to its row. `lifeMs`: how long the row is kept after the job's end, ms. */
export function toRow(root: string, block: number, job: FinishedJob, lifeMs: number): JobRow {
  const { id, record } = job
  const error: StoredError = record.error === undefined ? {} : JSON.parse(record.error)
  const finishedAt = Number(record.finished_at)
  return {
    root,
    id,
    state: RowState.there,
    created_at: Number(record.created_at),
    finished_at: finishedAt,
    expires_at: finishedAt + lifeMs,
    block,
    status: record.status!,
    type: record.type!,
    model: record.model!,
    lane: record.lane!,
    group_name: record.group ?? null,
    schedule: job.schedule,
    error_code: record.status === 'failed' ? (error.code ?? 'unknown') : null,
    retryable: error.retryable === true ? 1 : 0,
    cost_nano: costOf(record),
    result_key: job.result?.key ?? null,
    event_count: job.eventCount,
    usage: JSON.stringify(job.usage),
    ...job.texts,
  }
}

/** What the job cost, billionths of a dollar. */
export function costOf(record: Record<string, string>): number {
  return Math.round(Number(record.cost_usd ?? 0) * 1e9)
}

/** The digests of the job's metadata pairs, which find the job. */
export function metadataPairs(record: Record<string, string>): string[] {
  if (record.metadata === undefined) return []
  return Object.entries(JSON.parse(record.metadata) as Record<string, string>).map(([name, value]) =>
    pairOf(name, value),
  )
}

/** The digest of a metadata pair, 22 characters of base64url. */
export function pairOf(name: string, value: string): string {
  return createHash('sha256')
    .update(JSON.stringify([name, value]))
    .digest('base64url')
    .slice(0, 22)
}
