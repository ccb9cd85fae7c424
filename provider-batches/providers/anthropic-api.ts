import { Readable } from 'node:stream'
import Anthropic from '@anthropic-ai/sdk'
import { type Dispatcher, fetch } from 'undici'
import { isJsonObject } from '../../lib/json.ts'
import { parseWithSource, stringifyJson } from '../../lib/json-source.ts'
import { findMember } from '../../lib/json-text.ts'
import { lookUp } from '../../lib/look-up.ts'
import {
  type BatchApi,
  BatchApiError,
  entriesOf,
  type LineResult,
  type OutgoingLine,
  requireId,
  toCount,
} from './batch-api.ts'
import { readTextLines } from './read-lines.ts'
import { ask, toBatchApiError } from './sdk-errors.ts'

/** A search for a batch goes this far back before the request to create it, because clocks differ, ms. */
const SKEW_MS = 60_000
const PAGE = 1000
const MAX_PAGES = 20
/** Timeout of a request about a batch, and of requests that carry all lines or results, ms. */
const TIMEOUT_MS = 60_000
const LONG_TIMEOUT_MS = 15 * 60_000

/**
 * Anthropic's message batches. The request that creates a batch carries all lines, and a batch has no metadata. If the answer to the
 * creation was lost, a batch created at that time with as many lines may be this one: the names of its lines in the results tell.
 */
export function createAnthropicBatchApi(options: {
  baseUrl: string
  apiKey: string
  headers: Record<string, string>
  dispatcher: Dispatcher
}): BatchApi {
  const client = new Anthropic({
    apiKey: options.apiKey,
    authToken: null,
    baseURL: options.baseUrl.replace(/\/+$/, '').replace(/\/v1$/, ''),
    maxRetries: 0,
    timeout: TIMEOUT_MS,
    logLevel: 'off',
    fetch: fetch as unknown as typeof globalThis.fetch,
    fetchOptions: { dispatcher: options.dispatcher } as object,
    defaultHeaders: options.headers,
  })
  const { batches } = client.messages

  /** Streams the results: reads no more than is asked for. */
  async function* readResults(providerId: string, signal: AbortSignal): AsyncGenerator<string> {
    const { results_url: url } = await ask('looking at a batch', () => batches.retrieve(providerId))
    if (url === null) throw new BatchApiError('reading results: there are none', null, null)
    try {
      const response = await client
        .get(`/v1/messages/batches/${providerId}/results`, {
          __binaryResponse: true,
          signal,
          timeout: LONG_TIMEOUT_MS,
        })
        .asResponse()
      if (response.body !== null) yield* readTextLines(response.body as unknown as AsyncIterable<Uint8Array>)
    } catch (error) {
      throw toBatchApiError('reading results', error)
    }
  }

  return {
    upload: null,
    async removeUploads() {},

    create: (_, lines, signal) =>
      ask('creating a batch', async () => {
        const body = Readable.toWeb(Readable.from(writeRequests(lines), { objectMode: false }))
        const made = await client.post<Anthropic.Messages.MessageBatch>('/v1/messages/batches', {
          body,
          headers: { 'content-type': 'application/json' },
          timeout: LONG_TIMEOUT_MS,
          signal,
        })
        return requireId('creating a batch', made)
      }),

    async find(batch, known) {
      const { dropped, failed, left } = batch.counts
      const lines = batch.sentLines ?? batch.lines - dropped - failed - left
      let after: string | undefined
      for (let page = 0; page < MAX_PAGES; page++) {
        const list = await ask('looking for a batch', () =>
          batches.list({ limit: PAGE, ...(after === undefined ? {} : { after_id: after }) }),
        )
        const found = entriesOf(list.data)
        for (const one of found) {
          if (Date.parse(one.created_at) < batch.intentAt! - SKEW_MS) return null
          const { canceled, errored, expired, processing, succeeded } = one.request_counts
          const isAlike = canceled + errored + expired + processing + succeeded === lines
          if (!isAlike || known.has(one.id) || batch.rejected.includes(one.id)) continue
          return { providerId: one.id, isSure: false }
        }
        const last = found.at(-1)
        if (last === undefined || !list.has_more) return null
        after = last.id
      }
      return null
    },

    async read(providerId) {
      try {
        const one = await ask('looking at a batch', () => batches.retrieve(providerId))
        const isOver = one.processing_status === 'ended'
        return {
          phase: isOver ? 'over' : 'open',
          isCancelling: one.processing_status === 'canceling',
          answered: toCount(one.request_counts?.succeeded),
          outcome: isOver ? (one.cancel_initiated_at === null ? 'completed' : 'cancelled') : null,
          fault: null,
          resultFiles: [],
        }
      } catch (error) {
        if (error instanceof BatchApiError && error.status === 404) return null
        throw error
      }
    },

    async *results(batch, _, signal) {
      for await (const text of readResults(batch.providerId!, signal)) {
        const result = readResult(text)
        if (result !== null) yield result
      }
    },

    async cancel(providerId) {
      await ask('cancelling a batch', () => batches.cancel(providerId))
    },

    async cleanUp({ providerId }) {
      if (providerId === null) return
      await ask('removing a batch', () => batches.delete(providerId)).catch((error: unknown) => {
        if (!(error instanceof BatchApiError) || error.status !== 404) throw error
      })
    },
  }
}

async function* writeRequests(lines: AsyncIterable<OutgoingLine>): AsyncGenerator<Uint8Array> {
  let between = '{"requests":['
  for await (const { customId, body } of lines) {
    yield Buffer.from(`${between}{"custom_id":${JSON.stringify(customId)},"params":${body}}`)
    between = ','
  }
  yield Buffer.from(']}')
}

/** HTTP status for the error type of a line (Anthropic, "Errors"). */
const STATUSES: Record<string, number> = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  timeout_error: 504,
  overloaded_error: 529,
}

function readResult(text: string): LineResult | null {
  let line: unknown
  try {
    line = parseWithSource(text)
  } catch {
    return null
  }
  if (!isJsonObject(line)) return null
  const { custom_id: customId, result } = line
  if (!isJsonObject(result)) return { customId, kind: 'undone', code: 'no_response' }
  if (result.type === 'succeeded' && isJsonObject(result.message)) {
    const source = findMember(text, 'result')
    const written = source === undefined ? undefined : findMember(source, 'message')
    return { customId, kind: 'answer', status: 200, body: written ?? stringifyJson(result.message) }
  }
  if (result.type === 'errored' && isJsonObject(result.error)) {
    const inner = isJsonObject(result.error.error) ? result.error.error : result.error
    const status = lookUp(STATUSES, String(inner.type)) ?? 500
    return { customId, kind: 'answer', status, body: stringifyJson({ type: 'error', error: inner }) }
  }
  return { customId, kind: 'undone', code: `batch_${String(result.type ?? 'lost').slice(0, 100)}` }
}
