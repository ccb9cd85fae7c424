import { SluiceError } from './errors.ts'
import type { Http, OpenAnswer } from './http.ts'
import type { BulkAnswer, BulkLine } from './openapi.ts'
import type { sleep } from './sleep.ts'

export type SubmitManyOptions = {
  /** Makes the whole submission repeatable: job `n` has the key `<key>:<n>`, unless it has its own. */
  idempotencyKey?: string
  signal?: AbortSignal
}

export type SubmitManyDeps = {
  http: Http
  sleep: typeof sleep
  createKey: () => string
  /** How often in a row a line is sent for which the server has no room. */
  attempts: number
}

/**
 * One request has so many jobs, or characters: far below the server's limits, so that a submission of any length
 * needs little memory here, and a broken connection costs little.
 */
const MAX_LINES = 1000
const MAX_LENGTH = 4 * 1024 * 1024

/** Refusals of single lines that another attempt may cure. */
const PASSING = ['unavailable', 'queue_full', 'rate_limited', 'request_timeout']

/** An answer for each job, in order, while later ones are still being read from the source. */
export async function* submitMany(
  deps: SubmitManyDeps,
  creates: Iterable<BulkLine> | AsyncIterable<BulkLine>,
  options: SubmitManyOptions = {},
): AsyncGenerator<BulkAnswer, void, undefined> {
  const key = options.idempotencyKey ?? deps.createKey()
  let index = 0
  let lines: string[] = []
  let length = 0
  for await (const create of creates) {
    const line = JSON.stringify({ ...create, idempotency_key: create.idempotency_key ?? `${key}:${index}` })
    index++
    length += line.length
    lines.push(line)
    if (lines.length < MAX_LINES && length < MAX_LENGTH) continue
    yield* submitLines(deps, lines, index - lines.length, options.signal)
    lines = []
    length = 0
  }
  yield* submitLines(deps, lines, index - lines.length, options.signal)
}

/** Sends lines, and again those without an answer: their keys make them the same jobs. */
async function* submitLines(
  { http, sleep: pause, attempts }: SubmitManyDeps,
  lines: string[],
  start: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<BulkAnswer, void, undefined> {
  let answered = 0
  let failed = 0
  while (answered < lines.length) {
    const body = lines.slice(answered).join('\n')
    const answer = await http.open('POST', '/v1/jobs/bulk', {
      body,
      contentType: 'application/x-ndjson',
      signal,
    })
    const before = answered
    try {
      for await (const line of readLines(answer, signal)) {
        const given = parseAnswer(line)
        const isRefused = 'error' in given
        if (isRefused && PASSING.includes(given.error.code) && failed + 1 < attempts) break
        yield { ...given, index: start + answered }
        answered++
        if (answered === lines.length) return
      }
    } finally {
      answer.close()
    }
    failed = answered > before ? 1 : failed + 1
    if (failed >= attempts) {
      const message = 'the server left lines without an answer, again and again'
      throw new SluiceError({ status: null, code: 'unreachable', message, isRetryable: true })
    }
    await pause(http.backOff(failed), signal)
  }
}

/** A line of the server's answer. A proxy may answer 200 with a page of its own. */
function parseAnswer(line: string): BulkAnswer {
  try {
    return JSON.parse(line) as BulkAnswer
  } catch {
    throw new SluiceError({
      status: 200,
      code: 'invalid_answer',
      message: 'a line of the answer to /v1/jobs/bulk is not JSON',
    })
  }
}

/** Ends with the answer, in any way; an incomplete line is left out. */
async function* readLines(
  answer: OpenAnswer,
  signal: AbortSignal | undefined,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder()
  let rest = ''
  for (;;) {
    let bytes: Uint8Array | null
    try {
      bytes = await answer.read()
    } catch {
      signal?.throwIfAborted()
      return
    }
    if (bytes === null) return
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines.filter((line) => line !== '')
  }
}
