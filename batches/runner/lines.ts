import type { Files } from '../../files/files.ts'
import { NotDurableError } from '../../jobs/durability.ts'
import type { Job, JobError } from '../../jobs/job.ts'
import type { Jobs } from '../../jobs/jobs.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import type { JsonObject } from '../../lib/json.ts'
import { isRedisUnavailable } from '../../lib/redis.ts'
import type { JsonScanner } from '../../lib/scan-json.ts'
import { type Batch, type BatchEnding, type BatchEndpoint, BLOCK_LINES, type LineFailure } from '../batch.ts'
import type { LineFault } from '../check-line.ts'
import { type InputLine, readLines } from '../read-lines.ts'
import type { BatchWork, HeldBatch } from '../work.ts'

/** Reads lines for one endpoint; api/batches/lines.ts implements it. */
export type LineReader = {
  /** Makes a scanner that finds lines with more structure than a request may have, while they are read. */
  createScanner(): JsonScanner
  /** Checks what makes the whole batch invalid. Other faults affect only their line. */
  check(text: Buffer, endpoint: BatchEndpoint): Promise<{ customId: string; model: string } | LineFault>
  /** The job for a line, or why there is none. Null: the tenant is no longer configured. */
  read(text: Buffer, place: LinePlace): Promise<{ customId: string; made: NewJob | LineFailure } | null>
}

export type LinePlace = { batch: Batch /** Among the batch's lines, from 0. */; index: number }

export type BatchDeps = {
  work: BatchWork
  files: Files
  jobs: Pick<Jobs, 'createMany' | 'getMany' | 'statuses' | 'countOpen' | 'cancel'>
  lines: LineReader
  /** The error that a client sees for a failed job. */
  describeFailure: (error: JobError) => LineFailure
  /** A completed job's result as a client sees it. */
  showResult: (job: Job) => JsonObject
  /** Maximum number of open jobs of a tenant's batches; null: the tenant is no longer configured. */
  window: (tenant: string, model: string | null) => number | null
  /** How long result files are kept where the batch does not say, ms. */
  fileRetainMs: () => number
  now: () => number
  onError: (error: unknown, what: string) => void
}

/** A batch that runs in this process. */
export type BatchRun = {
  held: HeldBatch
  batch: Batch
  /** Throws if another worker may hold the batch, or if this process must stop. */
  check: () => void
}

/** Whether an error is temporary and not about the line: the step is repeated later. */
export function isPassing(error: unknown): boolean {
  return error instanceof NotDurableError || isRedisUnavailable(error)
}

/** The process stops. The batch stays as it is. */
export class RunStoppedError extends Error {
  override readonly name = 'RunStoppedError'
  override readonly message = 'the worker stops'
}

/** The input was deleted, or has changed since it was validated. */
export class InputGoneError extends Error {
  override readonly name = 'InputGoneError'
  override readonly message = 'the input file was deleted while the batch ran'
}

/** The tenant is no longer configured, so no limits apply by which its jobs could be admitted. */
export class TenantGoneError extends Error {
  override readonly name = 'TenantGoneError'
  override readonly message = 'the tenant of this batch is no longer configured'
}

/** Longest line, bytes: the same limit as for the body of a single request. */
export const LINE_BYTES = 32 * 1024 * 1024

/**
 * Reads the lines of a batch's input from byte offset `from`, the beginning of a block. Throws InputGoneError when there is no such file.
 */
export async function* readInput(
  { files, lines }: { files: Pick<Files, 'read' | 'get'>; lines: Pick<LineReader, 'createScanner'> },
  { tenant, inputFileId }: Batch,
  from: number,
): AsyncGenerator<InputLine> {
  const content = await files.read(tenant, inputFileId, from)
  if (content === null) throw new InputGoneError()
  try {
    yield* readLines(content, { from, limit: LINE_BYTES, createScanner: lines.createScanner })
  } catch (error) {
    throw (await files.get(tenant, inputFileId)) === null ? new InputGoneError() : error
  }
}

export function countLines(batch: Batch, block: number): number {
  return Math.min(BLOCK_LINES, batch.total - block * BLOCK_LINES)
}

/** The answer of a line that has no result because the batch ended early. */
export function describeEnding(ending: BatchEnding): LineFailure {
  switch (ending) {
    case 'cancelled':
      return {
        code: 'batch_cancelled',
        message: 'The batch was cancelled before this request had an answer.',
      }
    case 'expired':
      return {
        code: 'batch_expired',
        message: 'This request had no answer before the completion window of the batch was over.',
      }
    case 'failed':
      return { code: 'batch_failed', message: 'The batch failed before this request was made.' }
  }
}
