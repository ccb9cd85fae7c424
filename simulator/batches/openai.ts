import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import type { BatchBook, SimulatedBatch } from './batch-book.ts'
import { type Exchange, sendError, sendJson, sendLines } from './exchange.ts'
import { type FileBook, parseForm, type SimulatedFile } from './files.ts'
import { type LineOutcome, type LineRequest, readEndpoint } from './line.ts'
import type { BatchSettings } from './options.ts'

/** OpenAI's limit of lines in a batch ("Batch API"). */
const MAX_LINES = 50_000

type Deps = { batches: BatchBook; files: FileBook; settings: () => BatchSettings; now: () => number }

/** Handles `/v1/files` and `/v1/batches` like OpenAI. True: the request was for this API. */
export function createOpenAiBatchApi(deps: Deps) {
  const { batches, files } = deps
  let serial = 0

  function handleFiles(exchange: Exchange): boolean {
    const { method, path } = exchange
    const [, id, what] = /^\/files(?:\/([^/]+))?(?:\/(content))?$/.exec(path) ?? []
    if (path === '/files' && method === 'POST') upload(exchange)
    else if (path === '/files' && method === 'GET') sendPage(exchange, files.list().map(showFile))
    else if (id === undefined) return false
    else {
      const file = files.get(decodeURIComponent(id))
      if (!file) sendError(exchange, 404, `No such File object: ${id}`)
      else if (what && method === 'GET') sendLines(exchange, splitLines(file.content))
      else if (method === 'GET') sendJson(exchange, 200, showFile(file))
      else if (method === 'DELETE') {
        files.remove(file.id)
        sendJson(exchange, 200, { id: file.id, object: 'file', deleted: true })
      } else return false
    }
    return true
  }

  function upload(exchange: Exchange) {
    const parts = parseForm(exchange.request.headers['content-type'] ?? '', exchange.body)
    const file = parts?.find(({ name }) => name === 'file')
    const purpose = parts?.find(({ name }) => name === 'purpose')?.content.toString()
    if (!file || !purpose) return sendError(exchange, 400, "Missing required parameter: 'file' or 'purpose'.")
    sendJson(
      exchange,
      200,
      showFile(files.add({ filename: file.filename ?? 'file', purpose, content: file.content })),
    )
  }

  function sendPage(exchange: Exchange, all: { id: string }[]): void {
    const { pageSize, nullLists } = deps.settings()
    const after = exchange.query.get('after')
    const limit = Math.min(pageSize, Number(exchange.query.get('limit') ?? 20) || 20)
    const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1
    const data = all.slice(from, from + limit)
    sendJson(exchange, 200, {
      object: 'list',
      data: nullLists && data.length === 0 ? null : data,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: from + data.length < all.length,
    })
  }

  function create(exchange: Exchange) {
    const body = parse(exchange.body)
    if (!body || typeof body.input_file_id !== 'string') {
      return sendError(exchange, 400, "Missing required parameter: 'input_file_id'.")
    }
    if (readEndpoint(body.endpoint) === undefined)
      return sendError(exchange, 400, "Invalid value for 'endpoint'.")
    if (body.completion_window !== '24h')
      return sendError(exchange, 400, "Invalid value for 'completion_window'.")
    const file = files.get(body.input_file_id)
    if (!file) return sendError(exchange, 400, `No such File object: ${body.input_file_id}`)
    const read = readLines(file.content, body.endpoint as string)
    serial += 1
    const id = `batch_sim${serial.toString(36).padStart(8, '0')}`
    const metadata = isJsonObject(body.metadata) ? body.metadata : null
    const kept = { endpoint: body.endpoint, inputFile: file.id, metadata, outputFile: null, errorFile: null }
    const batch = batches.create({ id, lines: read.lines, kept, failure: read.failure })
    sendJson(exchange, 200, showBatch(batch, true))
  }

  /** Writes the result files of a batch that is over, once. */
  function sealResults(batch: SimulatedBatch): void {
    if (batch.kept.sealed || batch.endedAt === null) return
    batch.kept.sealed = true
    const output: string[] = []
    const errors: string[] = []
    for (const index of batch.order) {
      const line = batch.lines[index]!
      const outcome = batch.outcomes.get(index) ?? { kind: 'expired' as const }
      if (outcome.kind === 'lost') continue
      if (outcome.kind === 'expired' && batch.failure) continue
      const text = JSON.stringify(showLine(batch, line, outcome))
      if (outcome.kind === 'answer' || outcome.kind === 'zero' || outcome.kind === 'null') output.push(text)
      else errors.push(text)
    }
    const isGemini = String(batch.kept.inputFile).startsWith('files/')
    const make = (lines: string[], what: string) =>
      lines.length === 0
        ? null
        : files.add(
            {
              filename: `${batch.id}_${what}.jsonl`,
              purpose: 'batch_output',
              content: Buffer.from(`${lines.join('\n')}\n`),
            },
            isGemini ? `files/${batch.id}-${what}` : undefined,
          ).id
    batch.kept.outputFile = make(output, 'output')
    batch.kept.errorFile = make(errors, 'error')
  }

  function showBatch(batch: SimulatedBatch, isNew = false): JsonObject {
    const phase = isNew ? 'validating' : batches.phase(batch)
    if (!isNew) sealResults(batch)
    const at = (ms: number | null) => (ms === null ? null : Math.floor(ms / 1000))
    let completed = 0
    let failed = 0
    for (const { kind } of batch.outcomes.values()) {
      if (kind === 'answer') completed += 1
      else if (kind === 'error') failed += 1
    }
    const { failure, kept } = batch
    return {
      id: batch.id,
      object: 'batch',
      endpoint: kept.endpoint as string,
      model: batch.model,
      errors: failure && phase === 'failed' ? { object: 'list', data: [{ ...failure, param: null }] } : null,
      input_file_id: kept.inputFile as string,
      completion_window: '24h',
      status: phase,
      output_file_id: kept.outputFile as string | null,
      error_file_id: kept.errorFile as string | null,
      created_at: at(batch.createdAt),
      in_progress_at: at(phase === 'validating' ? null : batch.validAt),
      expires_at: at(batch.expiresAt),
      completed_at: phase === 'completed' ? at(batch.endedAt) : null,
      failed_at: phase === 'failed' ? at(batch.endedAt) : null,
      expired_at: phase === 'expired' ? at(batch.endedAt) : null,
      cancelling_at: at(batch.cancelAt),
      cancelled_at: phase === 'cancelled' ? at(batch.endedAt) : null,
      request_counts: { total: isNew || phase === 'validating' ? 0 : batch.lines.length, completed, failed },
      metadata: kept.metadata as JsonObject | null,
    }
  }

  function handleBatches(exchange: Exchange): boolean {
    const { method, path } = exchange
    const [, id, what] = /^\/batches(?:\/([^/]+))?(?:\/(cancel))?$/.exec(path) ?? []
    if (path === '/batches' && method === 'POST') create(exchange)
    else if (path === '/batches' && method === 'GET')
      sendPage(
        exchange,
        batches
          .list()
          .filter(isOpenAi)
          .map((one) => showBatch(one) as JsonObject & { id: string }),
      )
    else if (id === undefined) return false
    else {
      const batch = batches.get(decodeURIComponent(id))
      if (!batch || !isOpenAi(batch)) sendError(exchange, 404, `No batch found with id '${id}'.`)
      else if (what && method === 'POST') {
        batches.cancel(batch)
        sendJson(exchange, 200, showBatch(batch))
      } else if (method === 'GET') sendJson(exchange, 200, showBatch(batch))
      else return false
    }
    return true
  }

  return (exchange: Exchange) => handleFiles(exchange) || handleBatches(exchange)
}

function isOpenAi(batch: SimulatedBatch): boolean {
  return batch.kept.endpoint !== undefined
}

function showFile(file: SimulatedFile) {
  return {
    id: file.id,
    object: 'file',
    bytes: file.content.length,
    created_at: Math.floor(file.createdAt / 1000),
    filename: file.filename,
    purpose: file.purpose,
    status: 'processed',
  }
}

function showLine(batch: SimulatedBatch, { customId }: LineRequest, outcome: LineOutcome): JsonObject {
  const id = `batch_req_${customId}`
  const answered = (status: number, body: JsonObject | null) => ({
    ...{ id, custom_id: customId, error: null },
    response: { status_code: status, request_id: `req_${customId}`, body },
  })
  switch (outcome.kind) {
    case 'answer':
      return answered(200, outcome.body)
    case 'error':
      return answered(outcome.status, { error: outcome.error })
    case 'zero':
      return answered(0, null)
    case 'expired': {
      const isCancelled = batch.cancelledAt !== null
      const code = isCancelled ? 'batch_cancelled' : 'batch_expired'
      const message = isCancelled
        ? 'This request was not executed because the batch was cancelled.'
        : 'This request could not be executed before the completion window expired.'
      return { id, custom_id: customId, response: null, error: { code, message } }
    }
    default:
      return { id, custom_id: customId, response: null, error: null }
  }
}

function readLines(content: Buffer, endpoint: string): Pick<SimulatedBatch, 'lines' | 'failure'> {
  const lines: LineRequest[] = []
  const ids = new Set<string>()
  const type = readEndpoint(endpoint)!
  const path = withVersion(endpoint)
  const fail = (code: string, message: string, line: number | null = null) => ({
    lines,
    failure: { code, message, line },
  })
  for (const [index, text] of splitLines(content).entries()) {
    const line = parse(Buffer.from(text))
    const number = index + 1
    if (!line || !isJsonObject(line.body)) {
      return fail('invalid_json_line', 'This line is not parseable as valid JSON.', number)
    }
    if (typeof line.custom_id !== 'string')
      return fail('missing_required_parameter', "Missing 'custom_id'.", number)
    if (ids.has(line.custom_id)) {
      return fail('duplicate_custom_id', `The custom_id '${line.custom_id}' is used more than once.`, number)
    }
    if (withVersion(String(line.url)) !== path)
      return fail('invalid_url', 'The URL provided for this request does not match the batch.', number)
    const { model } = line.body
    if (typeof model !== 'string') return fail('missing_required_parameter', "Missing 'model'.", number)
    if (lines.length > 0 && lines[0]!.model !== model) {
      return fail('mismatched_model', `The model '${model}' does not match '${lines[0]!.model}'.`, number)
    }
    ids.add(line.custom_id)
    lines.push({ customId: line.custom_id, type, path, model, body: line.body })
  }
  if (lines.length === 0) return fail('empty_file', 'The input file is empty.')
  if (lines.length > MAX_LINES)
    return fail('too_many_tasks', `A batch may have at most ${MAX_LINES} requests.`)
  return { lines, failure: null }
}

/** Adds `/v1`, which Azure's endpoints leave out. */
function withVersion(endpoint: string): string {
  return endpoint.startsWith('/v1/') ? endpoint : `/v1${endpoint}`
}

function splitLines(content: Buffer): string[] {
  return content
    .toString()
    .split('\n')
    .filter((line) => line.trim() !== '')
}

function parse(body: Buffer): JsonObject | null {
  try {
    const value: unknown = JSON.parse(body.toString())
    return isJsonObject(value) ? value : null
  } catch {
    return null
  }
}
