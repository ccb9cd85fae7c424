import { SluiceError } from '../../client/errors.ts'
import { createHttp, type OpenAnswer } from '../../client/http.ts'
import { sleep } from '../../client/sleep.ts'

/** A request that failed. Status 0: the server did not answer. */
export class ApiFailure extends Error {
  readonly status: number
  readonly code: string | null

  constructor(status: number, code: string | null, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

export type RequestOptions = {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  body?: object
  /** JSON text to send unchanged, in place of `body`. */
  json?: string
  /** The tenant to act as; the key's own by default. */
  tenant?: string | null
  lastEventId?: string
  /** The media type to ask for, for routes that offer several. */
  accept?: string
  signal?: AbortSignal
  /** How long the server may be silent, ms. Default: 45 s for a stream, a minute for everything else. */
  silenceMs?: number
}

export type Api = {
  json<Body>(path: string, options?: RequestOptions): Promise<Body>
  /** The response with its body unread, for streams and downloads. Throws an ApiFailure for every status but 2xx. */
  open(path: string, options?: RequestOptions): Promise<OpenAnswer>
}

const TIMEOUT_MS = 60_000
const SILENCE_MS = 45_000

/**
 * Sends each request once, without retries: people see that it failed, and the follower of events retries by itself.
 *
 * @param deps.base the URL before `/v1/…`
 * @param deps.key returns the current key; null: none is known
 * @param deps.onRefused called when the current key gets a 401
 */
export function createApi(deps: {
  fetch: typeof fetch
  base: string
  key: () => string | null
  /** Whether the key may act as another tenant. The server refuses the header from other keys. */
  actsAs: () => boolean
  onRefused: () => void
}): Api {
  const http = createHttp({
    url: deps.base,
    headers: {},
    // A proxy in front of the server may redirect the page, for example to a login.
    fetch: (path, init) => deps.fetch(path, { ...init, cache: 'no-store', redirect: 'follow' }),
    retries: { attempts: 1, firstWaitMs: 0, longestWaitMs: 0 },
    timeoutMs: TIMEOUT_MS,
    silenceMs: SILENCE_MS,
    random: Math.random,
    sleep,
  })

  async function send<T>(
    path: string,
    options: RequestOptions,
    ask: (...request: Parameters<typeof http.open>) => Promise<T>,
  ): Promise<T> {
    const { method = 'GET', body, json, tenant, lastEventId, accept, signal, silenceMs } = options
    const key = deps.key()
    const text = json ?? (body && JSON.stringify(body))
    try {
      return await ask(method, path, {
        headers: {
          ...(key !== null && { authorization: `Bearer ${key}` }),
          ...(tenant && deps.actsAs() && { 'x-tenant': tenant }),
          ...(lastEventId && { 'last-event-id': lastEventId }),
          ...(accept && { accept }),
        },
        ...(text !== undefined && { body: text, contentType: 'application/json' }),
        ...(silenceMs !== undefined && { silenceMs, timeoutMs: silenceMs }),
        signal,
      })
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      // A late answer to an earlier key says nothing about the current one.
      if (error.status === 401 && key === deps.key()) deps.onRefused()
      throw toFailure(error)
    }
  }

  return {
    open: (path, options = {}) => send(path, options, http.open),
    json: <Body>(path: string, options: RequestOptions = {}) =>
      send<Body>(path, options, (...request) => http.json(...request)),
  }
}

function toFailure({ status, code, message }: SluiceError): ApiFailure {
  if (status === null) return new ApiFailure(0, null, 'The server does not answer.')
  return new ApiFailure(status, code === 'invalid_answer' ? null : code, toSentence(message))
}

/** The API's messages are clauses. One that begins with the name of a field keeps that name as it is. */
function toSentence(text: string): string {
  const begun = text.replace(/^[a-z]+ /, (word) => word[0]!.toUpperCase() + word.slice(1))
  return /[.!?]$/.test(begun) ? begun : `${begun}.`
}

/** Describes an error as a sentence. */
export function explain(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
