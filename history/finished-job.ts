import { createHash } from 'node:crypto'
import { type JobRow, RowState } from './tables.ts'
import type { UsageContribution } from './usage-sums.ts'

/**
 * A job that has ended, as Redis holds it: what is encrypted there stays encrypted. `record` lacks body and result. `key` is in it
 * where the job was made with an idempotency key. No text has a NUL, which PostgreSQL does not take.
 */
export type FinishedJob = {
  id: string
  record: Record<string, string>
  /** Null: contents are not kept. */
  body: Buffer | null
  /** `key`: of its place; jobs that have the same answer name the same. */
  result: { key: string; value: Buffer } | null
  /** As JSON: the record, the fields of `…:job:<id>:attempts`, and those of each delivery, the oldest first. */
  texts: { record: string; attempts: string; deliveries: string }
  /** Ids of its deliveries. */
  deliveries: readonly string[]
  eventCount: number
  schedule: string | null
  usage: UsageContribution
  /** As far as Redis knows, the history does not have it yet. */
  isNew?: boolean
  /** Redis knows that the history has it with this status and cost: its row stays in its block. */
  isMarked?: boolean
}

type StoredError = { code?: string; retryable?: boolean }

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

/** What was paid for it, billionths of a dollar. */
export function costOf(record: Record<string, string>): number {
  return Math.round(Number(record.cost_usd ?? 0) * 1e9)
}

/** Digests of the pairs of the job's metadata, under which it is found. */
export function metadataPairs(record: Record<string, string>): string[] {
  if (record.metadata === undefined) return []
  return Object.entries(JSON.parse(record.metadata) as Record<string, string>).map(([name, value]) =>
    pairOf(name, value),
  )
}

export function pairOf(name: string, value: string): string {
  return createHash('sha256')
    .update(JSON.stringify([name, value]))
    .digest('base64url')
    .slice(0, 22)
}
