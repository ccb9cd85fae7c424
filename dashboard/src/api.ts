import { SluiceError } from '../../client/errors.ts'
import { createHttp, type OpenAnswer } from '../../client/http.ts'
import { sleep } from '../../client/sleep.ts'

/** An answer that is no success. Status 0: there was none. */
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
  /** As whom; the key's own tenant unless given. */
  tenant?: string | null
  lastEventId?: string
  /** The form of the answer, where there are several. */
  accept?: string
  signal?: AbortSignal
  /** How long the server may say nothing, ms; 45 s for a stream, and a minute for everything else. */
  silenceMs?: number
}

export type Api = {
  json<Body>(path: string, options?: RequestOptions): Promise<Body>
  /** The answer itself, for streams and downloads. Throws an ApiFailure for everything but 2xx. */
  open(path: string, options?: RequestOptions): Promise<OpenAnswer>
}

const TIMEOUT_MS = 60_000
const SILENCE_MS = 45_000

/**
 * Sends each request once: people see that it failed, and the follower of events has waits of its own.
 *
 * @param deps.base what stands before `/v1/…`
 * @param deps.key the key as it is now; null: none is known
 * @param deps.onRefused told when the key as it is now gets a 401
 */
export function createApi(deps: {
  fetch: typeof fetch
  base: string
  key: () => string | null
  /** Whether the key may act as another tenant; the header is refused from others. */
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
    const { method = 'GET', body, tenant, lastEventId, accept, signal, silenceMs } = options
    const key = deps.key()
    try {
      return await ask(method, path, {
        headers: {
          ...(key !== null && { authorization: `Bearer ${key}` }),
          ...(tenant && deps.actsAs() && { 'x-tenant': tenant }),
          ...(lastEventId && { 'last-event-id': lastEventId }),
          ...(accept && { accept }),
        },
        ...(body !== undefined && { body: JSON.stringify(body), contentType: 'application/json' }),
        ...(silenceMs !== undefined && { silenceMs, timeoutMs: silenceMs }),
        signal,
      })
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      // A late answer to the key before this one says nothing of this one.
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

/** The API's messages are clauses. One that begins with the name of a member keeps it as it is. */
function toSentence(text: string): string {
  const begun = text.replace(/^[a-z]+ /, (word) => word[0]!.toUpperCase() + word.slice(1))
  return /[.!?]$/.test(begun) ? begun : `${begun}.`
}

/** What went wrong, as a sentence. */
export function explain(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
