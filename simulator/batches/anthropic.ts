import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import type { BatchBook, SimulatedBatch } from './batch-book.ts'
import { type Exchange, sendJson, sendLines } from './exchange.ts'
import { type LineOutcome, type LineRequest, toChat, toMessage } from './line.ts'
import type { BatchSettings } from './options.ts'

const CUSTOM_ID = /^[a-zA-Z0-9_-]{1,64}$/
/** Anthropic's limit of requests in a batch ("Batch processing"). */
const MAX_LINES = 100_000

/** Handles `/v1/messages/batches` like Anthropic. True: the request was for this API. */
export function createMessageBatchApi(deps: { batches: BatchBook; settings: () => BatchSettings }) {
  const { batches } = deps
  let serial = 0

  function create(exchange: Exchange) {
    const read = readRequests(exchange.body)
    if (typeof read === 'string') return sendMessageError(exchange, 400, 'invalid_request_error', read)
    serial += 1
    const id = `msgbatch_sim${serial.toString(36).padStart(8, '0')}`
    sendJson(
      exchange,
      200,
      show(exchange, batches.create({ id, lines: read, kept: { isMessages: true }, failure: null })),
    )
  }

  function list(exchange: Exchange): void {
    const all = batches.list().filter((one) => one.kept.isMessages === true)
    const { pageSize, nullLists } = deps.settings()
    const after = exchange.query.get('after_id')
    const limit = Math.min(pageSize, Number(exchange.query.get('limit') ?? 20) || 20)
    const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1
    const page = all.slice(from, from + limit)
    sendJson(exchange, 200, {
      data: nullLists && page.length === 0 ? null : page.map((one) => show(exchange, one)),
      has_more: from + page.length < all.length,
      first_id: page[0]?.id ?? null,
      last_id: page.at(-1)?.id ?? null,
    })
  }

  function show({ request }: Exchange, batch: SimulatedBatch): JsonObject {
    const phase = batches.phase(batch)
    const isOver = batch.endedAt !== null
    const counts = { processing: 0, succeeded: 0, errored: 0, canceled: 0, expired: 0 }
    for (let index = 0; index < batch.lines.length; index++) {
      if (isOver) counts[resultOf(batch, index).kind]++
      else counts.processing++
    }
    const at = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString())
    return {
      id: batch.id,
      type: 'message_batch',
      processing_status: isOver ? 'ended' : phase === 'cancelling' ? 'canceling' : 'in_progress',
      request_counts: counts,
      created_at: at(batch.createdAt),
      ended_at: at(batch.endedAt),
      expires_at: at(batch.expiresAt),
      archived_at: null,
      cancel_initiated_at: at(batch.cancelAt),
      results_url: isOver ? `http://${request.headers.host}/v1/messages/batches/${batch.id}/results` : null,
    }
  }

  return (exchange: Exchange): boolean => {
    const { method, path } = exchange
    const [, id, what] = /^\/messages\/batches(?:\/([^/]+))?(?:\/(cancel|results))?$/.exec(path) ?? []
    if (path === '/messages/batches' && method === 'POST') create(exchange)
    else if (path === '/messages/batches' && method === 'GET') list(exchange)
    else if (id === undefined) return false
    else {
      const batch = batches.get(id)
      if (!batch) sendMessageError(exchange, 404, 'not_found_error', `no batch ${id}`)
      else if (what === 'results' && batch.endedAt === null) {
        sendMessageError(exchange, 400, 'invalid_request_error', 'the batch has not ended')
      } else if (what === 'results') {
        const returned = batch.order.filter((index) => batch.outcomes.get(index)?.kind !== 'lost')
        sendLines(
          exchange,
          returned.map((index) => JSON.stringify(showResult(batch, index))),
        )
      } else if (what === 'cancel' && method === 'POST') {
        batches.cancel(batch)
        sendJson(exchange, 200, show(exchange, batch))
      } else if (method === 'DELETE' && batch.endedAt === null) {
        sendMessageError(exchange, 400, 'invalid_request_error', 'the batch is in progress')
      } else if (method === 'DELETE') {
        batches.remove(id)
        sendJson(exchange, 200, { id, type: 'message_batch_deleted' })
      } else if (method === 'GET') sendJson(exchange, 200, show(exchange, batch))
      else return false
    }
    return true
  }
}

type Result = { kind: 'succeeded' | 'errored' | 'canceled' | 'expired'; outcome: LineOutcome | undefined }

function resultOf(batch: SimulatedBatch, index: number): Result {
  const outcome = batch.outcomes.get(index)
  if (outcome?.kind === 'answer') return { kind: 'succeeded', outcome }
  if (outcome?.kind === 'error' || outcome?.kind === 'zero' || outcome?.kind === 'null')
    return { kind: 'errored', outcome }
  if (outcome === undefined && batch.cancelledAt !== null) return { kind: 'canceled', outcome }
  return { kind: 'expired', outcome }
}

function showResult(batch: SimulatedBatch, index: number): JsonObject {
  const { customId } = batch.lines[index]!
  const { kind, outcome } = resultOf(batch, index)
  if (outcome?.kind === 'null') return { custom_id: customId, result: null }
  if (outcome?.kind === 'answer') {
    return { custom_id: customId, result: { type: 'succeeded', message: toMessage(outcome.plan) } }
  }
  if (kind !== 'errored') return { custom_id: customId, result: { type: kind } }
  const { status, message } =
    outcome?.kind === 'error'
      ? { status: outcome.status, message: String(outcome.error.message) }
      : { status: 500, message: 'Internal server error' }
  const error = { type: 'error', error: { type: errorType(status), message } }
  return { custom_id: customId, result: { type: 'errored', error } }
}

function errorType(status: number): string {
  if (status === 429) return 'rate_limit_error'
  if (status === 529) return 'overloaded_error'
  return status >= 500 ? 'api_error' : 'invalid_request_error'
}

function readRequests(body: Buffer): LineRequest[] | string {
  let parsed: unknown
  try {
    parsed = JSON.parse(body.toString())
  } catch {
    return 'the body is not JSON'
  }
  if (!isJsonObject(parsed) || !Array.isArray(parsed.requests) || parsed.requests.length === 0) {
    return 'requests: Field required'
  }
  if (parsed.requests.length > MAX_LINES) return `requests: List should have at most ${MAX_LINES} items`
  const lines: LineRequest[] = []
  const ids = new Set<string>()
  for (const [index, request] of parsed.requests.entries()) {
    const { custom_id: customId, params } = isJsonObject(request) ? request : {}
    if (typeof customId !== 'string' || !CUSTOM_ID.test(customId)) {
      return `requests.${index}.custom_id: String should match pattern '${CUSTOM_ID.source}'`
    }
    if (ids.has(customId)) return `requests.${index}.custom_id: duplicate`
    if (!isJsonObject(params) || typeof params.model !== 'string')
      return `requests.${index}.params.model: Field required`
    if (params.stream !== undefined) return `requests.${index}.params.stream: Extra inputs are not permitted`
    if (typeof params.max_tokens !== 'number') return `requests.${index}.params.max_tokens: Field required`
    ids.add(customId)
    lines.push({ customId, type: 'chat', path: '/v1/messages', model: params.model, body: toChat(params) })
  }
  return lines
}

/** Sends an error in Anthropic's format. */
function sendMessageError(exchange: Exchange, status: number, type: string, message: string): void {
  sendJson(exchange, status, { type: 'error', error: { type, message } })
}
