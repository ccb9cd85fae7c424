import { Readable } from 'node:stream'
import OpenAI from 'openai'
import { type Dispatcher, fetch } from 'undici'
import { lookUp } from '../../lib/look-up.ts'
import type { ProviderBatch } from '../batch.ts'
import { type BatchApi, BatchApiError, type BatchView, entriesOf, requireId, toCount } from './batch-api.ts'
import { readResultLine, writeLines } from './openai-lines.ts'
import { readTextLines } from './read-lines.ts'
import { ask, toBatchApiError } from './sdk-errors.ts'

/** A search for a batch goes this far back before the request to create it, because clocks differ, ms. */
const SKEW_MS = 10 * 60_000
/** Entries of one page of a list, and most pages that are read. */
const PAGE = 100
const MAX_PAGES = 50
/** Timeout of a request about a batch, and of the upload of its file, ms. */
const TIMEOUT_MS = 60_000
const UPLOAD_TIMEOUT_MS = 15 * 60_000
/** The metadata member that has our id. */
const METADATA_ID = 'sluice_batch'

export type OpenAiBatchOptions = {
  baseUrl: string
  apiKey: string
  /** Azure's key has a header of its own. */
  isAzure: boolean
  headers: Record<string, string>
  dispatcher: Dispatcher
  /** The path in each line: `/v1/chat/completions`. */
  pathOf: (batch: ProviderBatch) => string
  /** The endpoint of the batch; it differs from the path only at Azure. */
  endpointOf: (batch: ProviderBatch) => string
  /** Another file API, for a provider whose endpoint has none. */
  files?: FileApi
}

/** Uploads, reads and removes the files of batches. */
export type FileApi = {
  upload(name: string, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string>
  read(id: string, signal: AbortSignal): AsyncIterable<Uint8Array>
  /** Ids of files with this name. */
  find(name: string): Promise<string[]>
  remove(id: string): Promise<void>
}

/** Creates batches with OpenAI's API. Azure and others have the same; Gemini has a file API of its own. */
export function createOpenAiBatchApi(options: OpenAiBatchOptions): BatchApi {
  const client = createClient(options)
  const files = options.files ?? createFiles(client)
  const nameOf = ({ id }: ProviderBatch) => `${id}.jsonl`

  return {
    upload: (batch, lines, signal) =>
      ask('sending the file of a batch', () =>
        files.upload(nameOf(batch), writeLines(lines, options.pathOf(batch)), signal),
      ),

    async removeUploads(batch) {
      for (const id of await ask('looking for files', () => files.find(nameOf(batch)))) {
        await ask('removing a file', () => files.remove(id))
      }
    },

    create: (batch, _, signal) =>
      ask('creating a batch', async () => {
        const body = {
          input_file_id: batch.fileId!,
          endpoint: options.endpointOf(batch) as '/v1/responses',
          completion_window: '24h' as const,
          metadata: { [METADATA_ID]: batch.id },
        }
        return requireId('creating a batch', await client.batches.create(body, { signal }))
      }),

    async find(batch) {
      let after: string | undefined
      for (let page = 0; page < MAX_PAGES; page++) {
        const list = await ask('looking for a batch', () =>
          client.batches.list({ limit: PAGE, ...(after === undefined ? {} : { after }) }),
        )
        const found = entriesOf(list.data)
        for (const one of found) {
          const isOurs =
            one.metadata?.[METADATA_ID] === batch.id ||
            (batch.fileId !== null && one.input_file_id === batch.fileId)
          if (isOurs) return { providerId: one.id, isSure: true }
        }
        const last = found.at(-1)
        if (last === undefined || last.id === after) return null
        // Unless the server lists its oldest batches first.
        const isDescending = createdAt(last) <= createdAt(found[0]!)
        if (isDescending && createdAt(last) < batch.intentAt! - SKEW_MS) return null
        if ((list as { has_more?: boolean | null }).has_more === false) return null
        after = last.id
      }
      return null
    },

    async read(providerId) {
      try {
        const one = await ask('looking at a batch', () => client.batches.retrieve(bare(providerId)))
        return toView(one)
      } catch (error) {
        if (error instanceof BatchApiError && error.status === 404) return null
        throw error
      }
    },

    async *results(_, view, signal) {
      for (const file of view.resultFiles) {
        try {
          for await (const line of readTextLines(files.read(file, signal))) {
            const result = readResultLine(line)
            if (result !== null) yield result
          }
        } catch (error) {
          throw toBatchApiError('reading results', error)
        }
      }
    },

    async cancel(providerId) {
      await ask('cancelling a batch', () => client.batches.cancel(bare(providerId)))
    },

    async cleanUp(batch, view) {
      for (const id of [batch.fileId, ...(view?.resultFiles ?? [])]) {
        if (id === null) continue
        await ask('removing a file', () => files.remove(id)).catch((error: unknown) => {
          if (!(error instanceof BatchApiError) || error.status !== 404) throw error
        })
      }
    },
  }
}

/** Gemini's ids are resource names; paths take them without the prefix. */
function bare(providerId: string): string {
  return providerId.replace(/^batches\//, '')
}

/**
 * Outcome of each final state, also as other servers spell it: Azure begins words with a capital, Gemini's own states may come through its
 * compatible endpoint (`JOB_STATE_SUCCEEDED`), and some servers write `canceled`. An unknown state counts as open: it may be new.
 */
const OVER: Record<string, BatchView['outcome']> = {
  completed: 'completed',
  succeeded: 'completed',
  partially_succeeded: 'completed',
  failed: 'failed',
  expired: 'expired',
  cancelled: 'cancelled',
  canceled: 'cancelled',
}

function toView(batch: OpenAI.Batch): BatchView {
  const { status, errors } = batch
  const fault = errors?.data?.[0]
  const state = String(status)
    .toLowerCase()
    .replace(/^(?:job|batch)_state_/, '')
  const outcome = lookUp(OVER, state) ?? null
  return {
    phase: outcome === null ? 'open' : 'over',
    isCancelling: /^cancell?ing$/.test(state),
    answered: toCount(batch.request_counts?.completed),
    outcome,
    fault: fault ? { code: fault.code ?? 'failed', message: (fault.message ?? '').slice(0, 500) } : null,
    // Some servers send an empty string where there is no file.
    resultFiles: [batch.output_file_id, batch.error_file_id].flatMap((id) => (id ? [id] : [])),
  }
}

/** When a batch was created, Unix ms. Azure sends a date string. */
function createdAt({ created_at: at }: { created_at: unknown }): number {
  return typeof at === 'number' ? at * 1000 : Date.parse(String(at))
}

/** No retries: if an answer was lost, the work may have been done. */
function createClient({ baseUrl, apiKey, isAzure, headers, dispatcher }: OpenAiBatchOptions): OpenAI {
  const base = baseUrl.replace(/\/+$/, '')
  const isBare = isAzure && !/\/openai(?:\/|$)/.test(base)
  return new OpenAI({
    apiKey: apiKey === '' ? 'none' : apiKey,
    baseURL: isBare ? `${base}/openai/v1` : base,
    organization: null,
    project: null,
    maxRetries: 0,
    timeout: TIMEOUT_MS,
    logLevel: 'off',
    fetch: fetch as unknown as typeof globalThis.fetch,
    fetchOptions: { dispatcher } as object,
    defaultHeaders: { ...(isAzure ? { 'api-key': apiKey, authorization: null } : {}), ...headers },
  })
}

function createFiles(client: OpenAI): FileApi {
  return {
    async upload(name, content, signal) {
      const boundary = `sluice-${crypto.randomUUID()}`
      // The SDK's own upload would hold the whole file in memory.
      const made = await client.post<OpenAI.FileObject>('/files', {
        body: Readable.toWeb(Readable.from(writeForm(boundary, name, content), { objectMode: false })),
        headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
        timeout: UPLOAD_TIMEOUT_MS,
        signal,
      })
      return requireId('sending the file of a batch', made)
    },
    async *read(id, signal) {
      const response = await client.files.content(id, { signal, timeout: UPLOAD_TIMEOUT_MS })
      if (response.body !== null) yield* response.body as unknown as AsyncIterable<Uint8Array>
    },
    async find(name) {
      const list = await client.files.list({ purpose: 'batch', limit: 1000 })
      return entriesOf(list.data)
        .filter((file) => file.filename === name)
        .map(({ id }) => id)
    },
    async remove(id) {
      await client.files.delete(id)
    },
  }
}

async function* writeForm(
  boundary: string,
  name: string,
  content: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const part = (head: string) => `--${boundary}\r\ncontent-disposition: form-data; ${head}\r\n`
  yield Buffer.from(`${part('name="purpose"')}\r\nbatch\r\n`)
  yield Buffer.from(`${part(`name="file"; filename="${name}"`)}content-type: application/jsonl\r\n\r\n`)
  yield* content
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}
