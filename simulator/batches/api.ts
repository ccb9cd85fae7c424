import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FaultBook } from '../faults.ts'
import type { SimulatorSettings } from '../options.ts'
import type { Recorder } from '../state.ts'
import { createMessageBatchApi } from './anthropic.ts'
import { createBatchBook } from './batch-book.ts'
import { type Exchange, withFaults } from './exchange.ts'
import { createFileBook } from './files.ts'
import { createGeminiFileApi } from './gemini.ts'
import { createLineRunner } from './line.ts'
import { createOpenAiBatchApi } from './openai.ts'
import { type BatchSettings, DEFAULT_BATCH_SETTINGS } from './options.ts'

/** A batch as `GET /_sim/batches` shows it. */
export type ShownBatch = {
  id: string
  model: string
  phase: string
  lines: number
  done: number
  tokens: number
}

export type BatchApi = {
  /** True: the request was for a batch API, and is answered. */
  handle(request: IncomingMessage, response: ServerResponse, body: Buffer): boolean
  /** The path as the list of calls shows it; null: it does not belong to a batch API. */
  shownPath(path: string): string | null
  set(settings: Partial<BatchSettings>): void
  endAll(how: 'complete' | 'expire'): void
  batches(): ShownBatch[]
  /** Lists the stored files. */
  files(): { id: string; filename: string }[]
  /** Deletes all batches and files. */
  reset(): void
}

/** The batch APIs of OpenAI and compatible providers, Anthropic and Gemini. docs/simulator.md describes them. */
export function createBatchApi(deps: {
  settings: SimulatorSettings
  faults: FaultBook
  recorder: Recorder
  random: () => number
  now: () => number
}): BatchApi {
  const { now } = deps
  const configured = { ...DEFAULT_BATCH_SETTINGS, ...deps.settings.batches }
  let settings = configured
  const current = () => settings
  const files = createFileBook(now)
  const run = createLineRunner(deps)
  const batches = createBatchBook({ settings: current, run, random: deps.random, now })
  const openAi = createOpenAiBatchApi({ batches, files, settings: current, now })
  const messages = createMessageBatchApi({ batches, settings: current })
  const gemini = createGeminiFileApi({ files, now })

  function shownPath(path: string): string | null {
    const [, tail] = /(\/messages\/batches|\/batches|\/files)(?:\/|:|$)/.exec(path) ?? []
    if (tail === undefined) return null
    return `/v1${tail}${/(\/content|\/results|:download)$/.test(path) ? '/content' : ''}`
  }

  return {
    handle(request, response, body) {
      const url = new URL(request.url ?? '/', 'http://simulator')
      const shown = shownPath(url.pathname)
      if (shown === null) return false
      const at = url.pathname.search(/\/messages\/batches|\/batches|\/files/)
      const exchange: Exchange = {
        ...{ request, response, body },
        method: request.method ?? 'GET',
        path: url.pathname.slice(at),
        query: url.searchParams,
        isCut: false,
      }
      const handlers = [
        (one: Exchange) => gemini(one, url.pathname),
        (one: Exchange) => messages(one),
        (one: Exchange) => openAi(one),
      ]
      withFaults(deps, exchange, shown, (one) => {
        if (handlers.some((answer) => answer(one))) return
        response.writeHead(404, { 'content-type': 'application/json' })
        response.end(
          JSON.stringify({ error: { message: `Unknown request URL: ${request.method} ${url.pathname}.` } }),
        )
      })
      return true
    },
    shownPath,
    set(next) {
      settings = { ...settings, ...next }
    },
    endAll: batches.endAll,
    batches: () =>
      batches.list().map((batch) => ({
        ...{ id: batch.id, model: batch.model, tokens: batch.tokens },
        phase: batches.phase(batch),
        lines: batch.lines.length,
        done: batch.outcomes.size,
      })),
    files: () => files.list().map(({ id, filename }) => ({ id, filename })),
    reset() {
      settings = configured
      batches.clear()
      files.clear()
    },
  }
}
