import type { KeyTerms } from '../config/key-terms.ts'

/** The states of a batch, with OpenAI's names; docs/batches.md shows the transitions. */
export const BatchStatus = {
  validating: 'validating',
  failed: 'failed',
  in_progress: 'in_progress',
  finalizing: 'finalizing',
  completed: 'completed',
  expired: 'expired',
  cancelling: 'cancelling',
  cancelled: 'cancelled',
} as const
export type BatchStatus = (typeof BatchStatus)[keyof typeof BatchStatus]

/** Whether a group belongs to a batch: its jobs have the batch's id as their group. */
export function isBatchId(group: string): boolean {
  return /^batch_[0-9a-f]{32}$/.test(group)
}

/** True for the states that a batch never leaves. */
export function isOver(status: BatchStatus): boolean {
  return (
    status === BatchStatus.completed ||
    status === BatchStatus.failed ||
    status === BatchStatus.expired ||
    status === BatchStatus.cancelled
  )
}

/** Why a batch ends before all of its lines ran. */
export type BatchEnding = 'cancelled' | 'expired' | 'failed'

/** Endpoints that the lines of a batch may call. */
export const batchEndpoints = [
  '/v1/chat/completions',
  '/v1/embeddings',
  '/v1/responses',
  '/v1/messages',
  '/v1/completions',
  '/v1/moderations',
  '/v1/rerank',
  '/v1/images/generations',
  '/v1/images/edits',
  '/v1/audio/speech',
  '/v1/audio/transcriptions',
  '/v1/audio/translations',
] as const
export type BatchEndpoint = (typeof batchEndpoints)[number]

/** A fault of a batch, or of one line of its input (from 1). */
export type BatchFault = { code: string; message: string; param: string | null; line: number | null }

export type BatchUsage = {
  inputTokens: number
  cachedTokens: number
  outputTokens: number
  reasoningTokens: number
}

/** Outcomes of lines. */
export type Tally = { completed: number; failed: number } & BatchUsage

/** Members of a record that are timestamps, Unix ms. */
export const batchTimes = [
  'in_progress_at',
  'finalizing_at',
  'completed_at',
  'failed_at',
  'expired_at',
  'cancelling_at',
  'cancelled_at',
] as const
export type BatchTimes = Record<(typeof batchTimes)[number], number | null>

export type NewBatch = KeyTerms & {
  endpoint: BatchEndpoint
  inputFileId: string
  completionWindow: string
  /** The completion window, ms. */
  windowMs: number
  metadata: Record<string, string> | null
  /** Seconds to keep the result files; null: until they are deleted. */
  outputExpiresAfter: number | null
  /** Id of the HTTP request that created it, and its W3C `traceparent`; the batch's jobs have them too. */
  requestId?: string
  trace?: string
}

export type Batch = Omit<NewBatch, 'windowMs'> & {
  id: string
  tenant: string
  status: BatchStatus
  /** The one model of all lines; null where there are several. */
  model: string | null
  errors: BatchFault[]
  outputFileId: string | null
  errorFileId: string | null
  total: number
  tally: Tally
  /** Unix ms, as are all times here. */
  createdAt: number
  expiresAt: number
  times: BatchTimes
}

/** A line of a current block: its job, or its answer without a job. */
export type BatchLine = { customId: string } & ({ job: string } | { answer: LineFailure })

/**
 * Why a line has no result. With a `status` it appears as an answer of the endpoint, without one as a fault of
 * the batch.
 */
export type LineFailure =
  | { status: number; error: Record<string, unknown> }
  | { code: string; message: string }

/** Lines of one block: submitted, watched and written together. The last block has the rest. */
export const BLOCK_LINES = 250

/** Lines whose results make one part of a result file. Divides a block. */
export const PART_LINES = 25

export const PARTS_PER_BLOCK = BLOCK_LINES / PART_LINES

export const emptyTally: Tally = {
  completed: 0,
  failed: 0,
  inputTokens: 0,
  cachedTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
}

export function addTallies(one: Tally, other: Tally): Tally {
  return {
    completed: one.completed + other.completed,
    failed: one.failed + other.failed,
    inputTokens: one.inputTokens + other.inputTokens,
    cachedTokens: one.cachedTokens + other.cachedTokens,
    outputTokens: one.outputTokens + other.outputTokens,
    reasoningTokens: one.reasoningTokens + other.reasoningTokens,
  }
}
