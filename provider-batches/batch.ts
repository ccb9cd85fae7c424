import type { JobType } from '../jobs/job.ts'

/**
 * The life of a provider batch:
 * - `gathered`: its jobs are chosen, and claimed one after the other;
 * - `uploading`: its file is on its way;
 * - `creating`: it was asked for, and nobody knows yet whether it exists;
 * - `in_progress`, `cancelling`: the provider has it;
 * - `ended`: every line's job went on.
 */
export type ProviderBatchState =
  | 'gathered'
  | 'uploading'
  | 'creating'
  | 'in_progress'
  | 'cancelling'
  | 'ended'

/** How it ended. `failed`: the provider did not take it; `refused`: nothing was created; `lost`: nobody knows. */
export type ProviderBatchOutcome =
  | 'completed'
  | 'failed'
  | 'expired'
  | 'cancelled'
  | 'refused'
  | 'lost'
  | 'empty'

/** A batch at a provider. Times are Unix ms. */
export type ProviderBatch = {
  /** Ours; the provider has it in the batch's metadata or in the names of its lines. */
  id: string
  lane: string
  type: JobType
  state: ProviderBatchState
  outcome: ProviderBatchOutcome | null
  /** The source of the lane that has it: its key and its address; null: the lane has none, or it is not chosen yet. */
  source: string | null
  /** The provider's id. */
  providerId: string | null
  /** Whether the provider's batch is surely this one. Where a provider keeps no metadata, its results tell. */
  isSure: boolean
  lines: number
  /** What became of its lines. `left`: they went another way; `dropped`: they needed no answer any more. */
  counts: { completed: number; failed: number; left: number; dropped: number }
  /** Estimated input tokens, and bytes. */
  tokens: number
  bytes: number
  costUsd: number
  /** Against the price of calls. */
  savedUsd: number
  createdAt: number
  /** When the provider was asked to create it. */
  intentAt: number | null
  /** When the provider took it. */
  submittedAt: number | null
  endedAt: number | null
  /** When the first of its lines leaves at the latest; null: none has to. */
  leaveAt: number | null
  /** What the provider said where it did not take the batch. */
  error: string | null
  /** Files at the provider. */
  fileId: string | null
  /** Provider's batches that turned out to be others. */
  rejected: string[]
  cancelAskedAt: number | null
  /** When the results were ready, and as what the batch will end. */
  readyAt: number | null
  readyAs: ProviderBatchOutcome | null
}

/** Reads a record; null where there is none. */
export function toProviderBatch(lane: string, fields: Record<string, string>): ProviderBatch | null {
  const { id, state } = fields
  if (id === undefined || state === undefined) return null
  const count = (name: string) => Number(fields[name] ?? 0)
  const time = (name: string) => (Number(fields[name] ?? 0) > 0 ? Number(fields[name]) : null)
  return {
    ...{ id, lane },
    type: (fields.type ?? 'chat') as ProviderBatch['type'],
    state: state as ProviderBatchState,
    outcome: (fields.outcome ?? null) as ProviderBatchOutcome | null,
    source: fields.source || null,
    providerId: fields.provider_id || null,
    isSure: fields.unsure !== '1',
    lines: count('lines'),
    counts: {
      completed: count('completed'),
      failed: count('failed'),
      left: count('left'),
      dropped: count('dropped'),
    },
    tokens: count('tokens'),
    bytes: count('bytes'),
    costUsd: count('cost_nano') / 1e9,
    savedUsd: count('saved_nano') / 1e9,
    createdAt: count('created_at'),
    intentAt: time('intent_at'),
    submittedAt: time('submitted_at'),
    endedAt: time('ended_at'),
    leaveAt: time('leave_at'),
    error: fields.error || null,
    fileId: fields.file_id || null,
    rejected: (fields.rejected ?? '').split(' ').filter((one) => one !== ''),
    cancelAskedAt: time('cancel_asked_at'),
    readyAt: time('ready_at'),
    readyAs: (fields.ready_as || null) as ProviderBatchOutcome | null,
  }
}

/** A line of a batch whose job is not over. */
export type BatchLine = {
  /** Its number in the batch. */
  index: number
  tenant: string
  job: string
  entry: number
  /** When the job leaves for a faster way, Unix ms; null: it need not. */
  leaveAt: number | null
  /** Of the job's call; null until the job is claimed for it. */
  call: { number: number; hash: string; cacheMode: string } | null
}

/** A line as it is stored: `<leave at> <id>-<entry> <tenant>`, and once it is claimed a line break, the call's number, its hash and cache mode. */
export function writeLine({ tenant, job, entry, leaveAt, call }: BatchLine): string {
  const head = `${leaveAt ?? 0} ${job}-${entry} ${tenant}`
  return call === null ? head : `${head}\n${call.number} ${call.hash} ${call.cacheMode}`
}

export function readLine(index: number, text: string): BatchLine {
  const [head = '', tail] = text.split('\n')
  const [leaveAt = '0', member = '', ...tenant] = head.split(' ')
  const dash = member.lastIndexOf('-')
  const [number = '0', hash = '', cacheMode = 'use'] = tail?.split(' ') ?? []
  return {
    index,
    tenant: tenant.join(' '),
    job: member.slice(0, dash),
    entry: Number(member.slice(dash + 1)),
    leaveAt: Number(leaveAt) || null,
    call: tail === undefined ? null : { number: Number(number), hash, cacheMode },
  }
}

/** The name of a line at the provider: 1 to 64 of `[A-Za-z0-9_-]`. */
export function customIdOf(batch: string, index: number): string {
  return `${batch}-${index}`
}

/** The number of a line by its name; null where it is none of this batch. */
export function indexOf(batch: string, customId: unknown): number | null {
  if (typeof customId !== 'string' || !customId.startsWith(`${batch}-`)) return null
  const index = Number(customId.slice(batch.length + 1))
  return Number.isInteger(index) && index >= 0 ? index : null
}
