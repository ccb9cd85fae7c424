import { Readable } from 'node:stream'
import { type Dispatcher, request } from 'undici'
import { BatchApiError } from './batch-api.ts'
import type { FileApi } from './openai-api.ts'

/** Timeout of a file's upload, ms. */
const TIMEOUT_MS = 15 * 60_000

/**
 * Gemini's own file API, because its OpenAI-compatible endpoint has none (Gemini API, "Files"). An upload starts with the file's name and
 * continues at the URL that the answer gives. A result is downloaded by its file name.
 */
export function createGeminiFiles(options: {
  /** Base URL of the compatible endpoint: `https://generativelanguage.googleapis.com/v1beta/openai`. */
  baseUrl: string
  apiKey: string
  dispatcher: Dispatcher
}): FileApi {
  const { dispatcher } = options
  const origin = options.baseUrl.replace(/\/v1beta\/openai\/*$/, '').replace(/\/+$/, '')
  const headers = { 'x-goog-api-key': options.apiKey }

  async function send(what: string, method: Dispatcher.HttpMethod, url: string, more: object = {}) {
    const settings = { method, headers, dispatcher, headersTimeout: TIMEOUT_MS, ...more }
    const answer = await request(url, settings)
    if (answer.statusCode < 300) return answer
    const said = (await answer.body.text()).slice(0, 300)
    throw new BatchApiError(`${what}: status ${answer.statusCode}: ${said}`, answer.statusCode, null)
  }

  return {
    async upload(name, content, signal) {
      const begun = await send('beginning an upload', 'POST', `${origin}/upload/v1beta/files`, {
        headers: {
          ...headers,
          'content-type': 'application/json',
          'x-goog-upload-protocol': 'resumable',
          'x-goog-upload-command': 'start',
          'x-goog-upload-header-content-type': 'application/jsonl',
        },
        body: JSON.stringify({ file: { display_name: name } }),
        signal,
      })
      await begun.body.dump()
      const address = begun.headers['x-goog-upload-url']
      if (typeof address !== 'string') throw new BatchApiError('beginning an upload: no address', 502, null)
      const sent = await send('sending a file', 'POST', address, {
        headers: { 'x-goog-upload-offset': '0', 'x-goog-upload-command': 'upload, finalize' },
        body: Readable.from(content, { objectMode: false }),
        signal,
      })
      return ((await sent.body.json()) as { file: { name: string } }).file.name
    },
    async *read(id, signal) {
      const answer = await send(
        'reading a file',
        'GET',
        `${origin}/download/v1beta/${id}:download?alt=media`,
        { signal },
      )
      yield* answer.body as AsyncIterable<Uint8Array>
    },
    async find(name) {
      const answer = await send('looking for files', 'GET', `${origin}/v1beta/files?pageSize=100`)
      const { files } = (await answer.body.json()) as {
        files?: { name: string; displayName?: string }[] | null
      }
      return (files ?? []).filter((file) => file.displayName === name).map((file) => file.name)
    },
    async remove(id) {
      const answer = await send('removing a file', 'DELETE', `${origin}/v1beta/${id}`)
      await answer.body.dump()
    },
  }
}
