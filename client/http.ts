import { SluiceError, toSluiceError } from './errors.ts'
import type { sleep } from './sleep.ts'

export type Fetch = (input: string, init?: RequestInit) => Promise<Response>

/** How requests are sent again that got no answer, or one that says to come back: 408, 429, and 5xx. */
export type RetryOptions = {
  /** How often a request is sent at the most; 8. 1: never again. */
  attempts: number
  /** The longest first wait, in ms; 250. Each further one is twice as long, and half of each is left to chance. */
  firstWaitMs: number
  /** The longest wait, in ms; 30,000. A server that asks for a longer one is not waited for. */
  longestWaitMs: number
}

export type RequestOptions = {
  /** JSON, or lines of it, as `contentType` says. */
  body?: string
  contentType?: string
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
  /** Of one attempt, in ms, where it takes longer than others. */
  timeoutMs?: number
  /** False: not sent again after a connection that broke, for the first may have done its work. */
  isRepeatable?: boolean
}

/** An answer whose body is still to be read. */
export type OpenAnswer = {
  response: Response
  /**
   * The next bytes; null at the end. Throws when the connection breaks, or is silent for longer than any server is, whose
   * streams have a comment every 15 s.
   */
  read(): Promise<Uint8Array | null>
  /** Lets go of the connection, whatever is still to come. */
  close(): void
}

/** Sends requests to one server, again where that may help. Throws SluiceError, or the reason of the signal. */
export type Http = {
  json<T>(method: string, path: string, options?: RequestOptions): Promise<T>
  open(method: string, path: string, options?: RequestOptions): Promise<OpenAnswer>
  /** Before the attempt after so many that failed, in ms. */
  backOff(failed: number): number
}

export type HttpDeps = {
  url: string
  /** Of every request. */
  headers: Record<string, string>
  fetch: Fetch
  retries: RetryOptions
  /** Of one attempt, in ms; of a stream until its headers. */
  timeoutMs: number
  /** Longest silence of a stream, in ms. */
  silenceMs: number
  /** Draws from [0, 1). */
  random: () => number
  sleep: typeof sleep
}

/** No answer, or that of a proxy which got none. */
const WORK_MAY_BE_DONE = new Set<number | null>([null, 502, 504])

export function createHttp(deps: HttpDeps): Http {
  const base = deps.url.replace(/\/+$/, '')
  const { attempts, firstWaitMs, longestWaitMs } = deps.retries

  /** Half of it is certain, so that a server that has just come up is not run over. */
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
    const timer = setTimeout(() => own.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    try {
      const response = await deps.fetch(base + path, {
        method,
        // Followed, a POST may become a GET, whose answer would be taken for the job.
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
      return await read({
        response,
        read: createReader(response, own, deps.silenceMs),
        close: () => own.abort(),
      })
    } catch (error) {
      own.abort()
      options.signal?.throwIfAborted()
      if (error instanceof SluiceError) throw error
      const message = `${base} does not answer: ${describe(error)}`
      throw new SluiceError({ status: null, code: 'unreachable', message, isRetryable: true })
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
        if (!(error instanceof SluiceError) || !error.isRetryable || failed >= attempts) throw error
        if (options.isRepeatable === false && WORK_MAY_BE_DONE.has(error.status)) throw error
        const asked = (error.retryAfterSeconds ?? 0) * 1000
        if (asked > longestWaitMs) throw error
        // Never before the server asks for it; a little later, for it asks everybody for the same time.
        await deps.sleep(asked + backOff(failed), options.signal)
      }
    }
  }

  return {
    backOff,
    open: (method, path, options = {}) => send(method, path, options, async (answer) => answer),
    async json<T>(method: string, path: string, options: RequestOptions = {}) {
      const text = await send(method, path, options, ({ response }) => response.text())
      try {
        return JSON.parse(text) as T
      } catch {
        const message = `${base}${path} did not answer with JSON`
        throw new SluiceError({ status: 200, code: 'invalid_answer', message })
      }
    },
  }
}

function createReader(response: Response, own: AbortController, silenceMs: number): OpenAnswer['read'] {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  return async () => {
    reader ??= response.body?.getReader()
    const timer = setTimeout(() => own.abort(new Error(`silent for ${silenceMs} ms`)), silenceMs)
    try {
      return (await reader?.read())?.value ?? null
    } finally {
      clearTimeout(timer)
    }
  }
}

/** `fetch failed` says nothing; its cause does. */
function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(cause instanceof Error)) return String(cause)
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message
}
