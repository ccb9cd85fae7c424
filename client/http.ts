import { SluiceError, toSluiceError } from './errors.ts'
import type { sleep } from './sleep.ts'

export type Fetch = (input: string, init?: RequestInit) => Promise<Response>

/** How requests are repeated that got no answer, or 408, 429, or 5xx. */
export type RetryOptions = {
  /** The most attempts at a request; default 8. 1: it is never repeated. */
  attempts: number
  /** The longest first wait, in ms; default 250. Each further one is twice as long, and half of each is random. */
  firstWaitMs: number
  /** The longest wait, in ms; default 30,000. If the server asks for a longer one, the request fails. */
  longestWaitMs: number
}

export type RequestOptions = {
  /** JSON, or lines of it, as `contentType` says. */
  body?: string
  contentType?: string
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
  /** Timeout of one attempt, in ms, if it takes longer than others. */
  timeoutMs?: number
  /** How long a stream may be silent, in ms, if not as long as others. */
  silenceMs?: number
  /** False: it is not repeated after a broken connection, because the first request may have done its work. */
  isRepeatable?: boolean
  /**
   * How long to wait after an error that another attempt may cure, in ms; null: it is thrown. `failed` counts the
   * attempts. Default: as for other requests.
   */
  waitAfter?: (error: SluiceError, failed: number) => number | null
}

/** An answer whose body is not read yet. */
export type OpenAnswer = {
  response: Response
  /**
   * The next bytes; null at the end. Throws if the connection breaks, or is silent for too long: streams have a
   * comment every 15 s.
   */
  read(): Promise<Uint8Array | null>
  /** Closes the connection, even if more data would follow. */
  close(): void
}

/**
 * Sends requests to one server, and repeats them if that may help. Throws SluiceError, or the reason of the signal.
 */
export type Http = {
  json<T>(method: string, path: string, options?: RequestOptions): Promise<T>
  text(method: string, path: string, options?: RequestOptions): Promise<string>
  open(method: string, path: string, options?: RequestOptions): Promise<OpenAnswer>
  /** The wait before the attempt after `failed` failures, in ms. */
  backOff(failed: number): number
}

export type HttpDeps = {
  url: string
  /** Headers of every request. */
  headers: Record<string, string>
  fetch: Fetch
  retries: RetryOptions
  /** Timeout of one attempt, in ms; of a stream until its headers. */
  timeoutMs: number
  /** Longest silence of a stream, in ms. */
  silenceMs: number
  /** Draws from [0, 1). */
  random: () => number
  sleep: typeof sleep
}

/** No answer, or the answer of a proxy that got none. */
const WORK_MAY_BE_DONE = new Set<number | null>([null, 502, 504])

export function createHttp(deps: HttpDeps): Http {
  const base = deps.url.replace(/\/+$/, '')
  const { attempts, firstWaitMs, longestWaitMs } = deps.retries

  /** Half of it is fixed, so that a server that has just started is not overrun. */
  function backOff(failed: number): number {
    const longest = Math.min(longestWaitMs, firstWaitMs * 2 ** (failed - 1))
    return longest / 2 + (deps.random() * longest) / 2
  }

  async function attempt<T>(
    method: string,
    path: string,
    options: RequestOptions,
    read: (answer: OpenAnswer) => Promise<T>,
  ): Promise<T> {
    const own = new AbortController()
    const signal = options.signal ? AbortSignal.any([options.signal, own.signal]) : own.signal
    const timeoutMs = options.timeoutMs ?? deps.timeoutMs
    const late = new DOMException(`no answer within ${timeoutMs} ms`, 'TimeoutError')
    const timer = setTimeout(() => own.abort(late), timeoutMs)
    try {
      const response = await deps.fetch(base + path, {
        method,
        // If followed, a POST may become a GET, whose answer would look like the job.
        redirect: 'manual',
        headers: {
          ...deps.headers,
          ...(options.contentType !== undefined && { 'content-type': options.contentType }),
          ...options.headers,
        },
        signal,
        ...(options.body !== undefined && { body: options.body }),
      })
      if (!response.ok) throw toSluiceError(response, await response.text())
      return await read(toOpenAnswer(response, options.silenceMs ?? deps.silenceMs, own))
    } catch (error) {
      own.abort()
      options.signal?.throwIfAborted()
      if (error instanceof SluiceError) throw error
      const cause = findCause(error)
      const message = `${base} does not answer: ${describe(cause)}`
      throw new SluiceError({ status: null, code: 'unreachable', message, isRetryable: true, cause })
    } finally {
      clearTimeout(timer)
    }
  }

  async function send<T>(
    method: string,
    path: string,
    options: RequestOptions,
    read: (answer: OpenAnswer) => Promise<T>,
  ): Promise<T> {
    for (let failed = 1; ; failed++) {
      options.signal?.throwIfAborted()
      try {
        return await attempt(method, path, options, read)
      } catch (error) {
        if (!(error instanceof SluiceError) || !error.isRetryable) throw error
        if (options.isRepeatable === false && WORK_MAY_BE_DONE.has(error.status)) throw error
        const wait = (options.waitAfter ?? waitAfter)(error, failed)
        if (wait === null) throw error
        await deps.sleep(wait, options.signal)
      }
    }
  }

  function waitAfter(error: SluiceError, failed: number): number | null {
    const asked = (error.retryAfterSeconds ?? 0) * 1000
    if (failed >= attempts || asked > longestWaitMs) return null
    // Never before the time that the server names; a little later, because it names the same time to all clients.
    return asked + backOff(failed)
  }

  const text: Http['text'] = (method, path, options = {}) =>
    send(method, path, options, ({ response }) => response.text())

  return {
    backOff,
    text,
    open: (method, path, options = {}) => send(method, path, options, async (answer) => answer),
    async json<T>(method: string, path: string, options: RequestOptions = {}) {
      const answer = await text(method, path, options)
      try {
        return JSON.parse(answer) as T
      } catch {
        const message = `${base}${path} did not answer with JSON`
        throw new SluiceError({ status: 200, code: 'invalid_answer', message })
      }
    },
  }
}

/**
 * A response as it is read piece by piece.
 *
 * @param silenceMs how long a piece may take, in ms
 * @param own aborts the request
 */
export function toOpenAnswer(response: Response, silenceMs: number, own = new AbortController()): OpenAnswer {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  return {
    response,
    async read() {
      own.signal.throwIfAborted()
      reader ??= response.body?.getReader()
      const timer = setTimeout(() => close(new Error(`silent for ${silenceMs} ms`)), silenceMs)
      try {
        const piece = await reader?.read()
        // A reader that was closed ends like one that has read everything.
        own.signal.throwIfAborted()
        return piece?.value ?? null
      } finally {
        clearTimeout(timer)
      }
    },
    close: () => close(),
  }

  function close(reason?: Error): void {
    own.abort(reason)
    // A broken connection needs no close.
    reader?.cancel().catch(() => {})
  }
}

/** `fetch failed` says nothing; its cause does. */
function findCause(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error ? error.cause : error
}

function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message
}
