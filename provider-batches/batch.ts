import type { JobType } from '../jobs/job.ts'

/**
 * The states of a provider batch:
 * - `gathered`: its jobs are chosen, and are being claimed;
 * - `uploading`: its file is being uploaded;
 * - `creating`: the request to create it was sent, and it is unknown whether it exists;
 * - `in_progress`, `cancelling`: the provider has it;
 * - `ended`: the jobs of all its lines have ended or gone on.
 */
export type ProviderBatchState =
  | 'gathered'
  | 'uploading'
  | 'creating'
  | 'in_progress'
  | 'cancelling'
  | 'ended'

/** How it ended. `failed`: the provider rejected it; `refused`: nothing was created; `lost`: unknown. */
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
  /** Our id. The provider has it in the batch's metadata or in the names of its lines. */
  id: string
  lane: string
  type: JobType
  state: ProviderBatchState
  outcome: ProviderBatchOutcome | null
  /** The source (key and address) that has the batch; null: the lane has no sources, or none is chosen yet. */
  source: string | null
  /** The provider's id. */
  providerId: string | null
  /** Whether the provider's batch is certainly this one. Where a provider keeps no metadata, the results tell. */
  isSure: boolean
  lines: number
  /** Lines that were sent last; null: not all have been sent yet. */
  sentLines: number | null
  /** Outcomes of its lines. `left`: the job went another way; `dropped`: it needed no answer any more. */
  counts: { completed: number; failed: number; left: number; dropped: number }
  /** Estimated input tokens, and bytes. */
  tokens: number
  bytes: number
  costUsd: number
  /** Compared with the price of calls. */
  savedUsd: number
  createdAt: number
  /** When the request to create it was sent. */
  intentAt: number | null
  /** When the provider accepted it. */
  submittedAt: number | null
  endedAt: number | null
  /** The earliest time at which one of its jobs has to leave the batch; null: none has to. */
  leaveAt: number | null
  /** The provider's message where it rejected the batch. */
  error: string | null
  /** Files at the provider. */
  fileId: string | null
  /** Ids of provider batches that turned out not to be this one. */
  rejected: string[]
  cancelAskedAt: number | null
  /** When the results were ready, and the outcome to end with. */
  readyAt: number | null
  readyAs: ProviderBatchOutcome | null
}

/** Reads a record. Null where there is none. */
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
    sentLines: fields.sent_lines === undefined ? null : count('sent_lines'),
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
  /** When the job has to leave for a faster way, Unix ms; null: it need not. */
  leaveAt: number | null
  /** The job's call; null until the job is claimed for it. */
  call: { number: number; hash: string; cacheMode: string } | null
}

/**
 * Writes a line for Redis: `<leave at> <id>-<entry> <tenant>`; once it is claimed, a line break and the call's number, hash and cache mode.
 */
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

/** The index of a line from its name; null where the name belongs to another batch. */
export function indexOf(batch: string, customId: unknown): number | null {
  if (typeof customId !== 'string' || !customId.startsWith(`${batch}-`)) return null
  const text = customId.slice(batch.length + 1)
  return /^(?:0|[1-9]\d{0,8})$/.test(text) ? Number(text) : null
}
