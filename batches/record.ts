import { readTerms, writeTerms } from '../config/key-terms.ts'
import {
  addTallies,
  type Batch,
  type BatchEndpoint,
  type BatchFault,
  type BatchStatus,
  type BatchTimes,
  batchTimes,
  emptyTally,
  type NewBatch,
  type Tally,
} from './batch.ts'

/** The fields and values of a new batch's record. */
export function toFields(batch: NewBatch): string[] {
  return Object.entries({
    endpoint: batch.endpoint,
    input_file_id: batch.inputFileId,
    completion_window: batch.completionWindow,
    metadata: batch.metadata === null ? '' : JSON.stringify(batch.metadata),
    output_expires_after: batch.outputExpiresAfter === null ? '' : String(batch.outputExpiresAfter),
  }).flat()
}

/** Fields about the batch's origin. They are not part of the fingerprint: a repeated request is the same request from every origin. */
export function toOriginFields({ requestId, trace, ...batch }: NewBatch): string[] {
  return [
    ...(requestId === undefined ? [] : ['request_id', requestId]),
    ...(trace === undefined ? [] : ['trace', trace]),
    ...Object.entries(writeTerms(batch)).flatMap((field) => (field[1] === '' ? [] : field)),
  ]
}

/** Reads a batch from its record, and from its blocks' tallies while it has them. */
export function toBatch(
  tenant: string,
  id: string,
  fields: Record<string, string>,
  tallies: Record<string, string>,
): Batch {
  const number = (name: string) => (fields[name] ? Number(fields[name]) : null)
  const done: Tally = {
    completed: number('completed') ?? 0,
    failed: number('failed') ?? 0,
    inputTokens: number('inputTokens') ?? 0,
    cachedTokens: number('cachedTokens') ?? 0,
    outputTokens: number('outputTokens') ?? 0,
    reasoningTokens: number('reasoningTokens') ?? 0,
  }
  const blocks = Object.values(tallies).map((text) => ({ ...emptyTally, ...(JSON.parse(text) as Tally) }))
  return {
    id,
    tenant,
    status: fields.status as BatchStatus,
    endpoint: fields.endpoint as BatchEndpoint,
    inputFileId: fields.input_file_id ?? '',
    completionWindow: fields.completion_window ?? '',
    metadata: fields.metadata ? (JSON.parse(fields.metadata) as Record<string, string>) : null,
    outputExpiresAfter: number('output_expires_after'),
    ...(fields.request_id ? { requestId: fields.request_id } : {}),
    ...(fields.trace ? { trace: fields.trace } : {}),
    ...readTerms(fields),
    model: fields.model || null,
    errors: fields.errors ? (JSON.parse(fields.errors) as BatchFault[]) : [],
    outputFileId: fields.output_file_id || null,
    errorFileId: fields.error_file_id || null,
    total: number('total') ?? 0,
    tally: blocks.reduce(addTallies, done),
    createdAt: Number(fields.created_at),
    expiresAt: Number(fields.expires_at),
    times: Object.fromEntries(batchTimes.map((name) => [name, number(name)])) as BatchTimes,
  }
}
