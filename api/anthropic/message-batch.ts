import { z } from 'zod'
import { type Batch, isOver } from '../../batches/batch.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { keepSourcesAt, parseWithSource, stringifyLine } from '../../lib/json-source.ts'
import { messageBodySchema } from '../schemas/bodies.ts'
import { shapeError } from './errors.ts'

/** The line limit of a batch. */
const MOST_REQUESTS = 50_000

const customId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, { error: 'expected 1 to 64 letters, digits, _ or -' })

export const createMessageBatchSchema = z
  .looseObject({
    requests: z
      .array(z.looseObject({ custom_id: customId, params: messageBodySchema }))
      .min(1)
      .max(MOST_REQUESTS),
  })
  .superRefine(({ requests }, context) => {
    const seen = new Set<string>()
    for (const [index, { custom_id: id }] of requests.entries()) {
      if (seen.has(id)) {
        const path = ['requests', index, 'custom_id']
        context.addIssue({ code: 'custom', path, message: 'is used twice in this batch' })
        return
      }
      seen.add(id)
    }
  })
  .meta({ id: 'CreateMessageBatch', description: "A body of Anthropic's `POST /v1/messages/batches`." })

const time = z.string().nullable()

export const messageBatchSchema = z
  .object({
    id: z.string(),
    type: z.literal('message_batch'),
    processing_status: z.enum(['in_progress', 'canceling', 'ended']),
    request_counts: z.object({
      processing: z.int(),
      succeeded: z.int(),
      errored: z.int(),
      canceled: z.int(),
      expired: z.int(),
    }),
    ended_at: time,
    created_at: z.string(),
    expires_at: z.string(),
    archived_at: time,
    cancel_initiated_at: time,
    results_url: z.string().nullable(),
  })
  .meta({ id: 'MessageBatch', description: 'A batch as Anthropic shapes it.' })

/** Both ids name the same batch. */
export function toMessageBatchId(batch: string): string {
  return batch.replace(/^batch_/, 'msgbatch_')
}

export function toBatchId(messageBatch: string): string {
  return messageBatch.replace(/^msgbatch_/, 'batch_')
}

/**
 * Converts a batch to Anthropic's shape. As at Anthropic, requests count as processing until all have ended.
 *
 * @param url public URL of the API
 */
export function toMessageBatch(batch: Batch, url: string): z.output<typeof messageBatchSchema> {
  const { times, tally, total, status } = batch
  const hasEnded = isOver(status)
  const left = Math.max(0, total - tally.completed - tally.failed)
  const isCancelled = status === 'cancelled'
  const endedAt = times.completed_at ?? times.failed_at ?? times.expired_at ?? times.cancelled_at
  const id = toMessageBatchId(batch.id)
  return {
    id,
    type: 'message_batch',
    processing_status: hasEnded ? 'ended' : status === 'cancelling' ? 'canceling' : 'in_progress',
    request_counts: {
      processing: hasEnded ? 0 : total,
      succeeded: hasEnded ? tally.completed : 0,
      errored: hasEnded ? tally.failed : 0,
      canceled: hasEnded && isCancelled ? left : 0,
      expired: hasEnded && !isCancelled ? left : 0,
    },
    ended_at: hasEnded ? toTime(endedAt) : null,
    created_at: toTime(batch.createdAt)!,
    expires_at: toTime(batch.expiresAt)!,
    archived_at: null,
    cancel_initiated_at: toTime(times.cancelling_at),
    results_url: hasEnded ? `${url}/v1/messages/batches/${id}/results` : null,
  }
}

/** The lines of the batch's input; each request keeps its client's text. */
export function* listInputLines(body: JsonObject): Generator<Buffer> {
  keepSourcesAt(body, ['requests', '*', 'params'])
  for (const request of body.requests as JsonObject[]) {
    const { custom_id, params } = request
    yield Buffer.from(
      `${stringifyLine({ custom_id, method: 'POST', url: '/v1/messages', body: params } as JsonObject)}\n`,
    )
  }
}

/** Converts a line of a result file to Anthropic's form. */
export function toMessageResult(line: string, requestId: string): string {
  const answered = parseWithSource(line)
  keepSourcesAt(answered, ['response', 'body'])
  return `${stringifyLine({ custom_id: answered.custom_id ?? '', result: toResult(answered, requestId) })}\n`
}

function toResult({ response, error }: JsonObject, requestId: string): JsonValue {
  if (isJsonObject(response)) {
    const body = isJsonObject(response.body) ? response.body : {}
    const status = Number(response.status_code)
    if (status === 200) return { type: 'succeeded', message: body }
    const given = isJsonObject(body.error) ? body.error : {}
    return { type: 'errored', error: shapeError({ status, error: given }, requestId) }
  }
  const { code, message } = isJsonObject(error) ? error : {}
  if (code === 'batch_cancelled') return { type: 'canceled' }
  if (code === 'batch_expired') return { type: 'expired' }
  return {
    type: 'errored',
    error: shapeError({ status: 500, error: { message: message ?? '', code: code ?? null } }, requestId),
  }
}

function toTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}
