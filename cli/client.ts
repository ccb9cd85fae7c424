import { SluiceError } from '../client/errors.ts'
import { createHttp, type OpenAnswer, type RequestOptions as SendOptions } from '../client/http.ts'
import { CliError, ExitCode } from './exit.ts'

/** The `error` of an answer, or of one line of a bulk answer. */
export type ErrorMembers = { message: string; type: string; param: string | null; code: string | null }

/** The server refused the request, and would refuse it again. */
export class RefusedError extends CliError {
  readonly status: number
  readonly members: Pick<SluiceError, 'message' | 'param' | 'code'>

  /** @param path of the request; added to a message that only names the kind of thing that was not found */
  constructor(status: number, members: RefusedError['members'], path: string) {
    const isUnnamed = status === 404 && /^no such [\w ]+$/.test(members.message)
    const message = isUnnamed ? `${members.message}: ${decodePath(path)}` : members.message
    super(status === 401 || status === 403 ? ExitCode.unauthorized : ExitCode.failed, message)
    this.status = status
    this.members = members
  }
}

export type RequestOptions = {
  body?: string
  headers?: Record<string, string>
  /** Of one attempt, in ms; default 60 s. */
  timeoutMs?: number
  /** How long the server may be unavailable, in ms; default: that of the client. */
  patienceMs?: number
  /** Aborts this request only. */
  signal?: AbortSignal
}

/** Sends requests to one server. Every request may be sent twice. */
export type Client = {
  /** The text of the answer. Throws RefusedError, or CliError if the server was unavailable for too long. */
  request(method: string, path: string, options?: RequestOptions): Promise<string>
  /** The answer, parsed as JSON. */
  json<T>(method: string, path: string, options?: RequestOptions): Promise<T>
  /** An answer whose body is read as it arrives; status 200 or 204. */
  open(path: string, options?: RequestOptions): Promise<OpenAnswer>
}

export type ClientDeps = {
  url: string
  key: string | undefined
  /** The tenant that an admin key acts as; default: the key's own. */
  tenant?: string
  fetch: typeof fetch
  sleep: (ms: number, signal: AbortSignal) => Promise<unknown>
  /** Milliseconds of a monotonic clock. */
  now: () => number
  /** A random number in [0, 1). */
  random: () => number
  /** Aborts all running work. */
  signal: AbortSignal
  /** How long the server may be unavailable before the command gives up, in ms. */
  patienceMs: number
  /** Why the work is paused at the moment. Null: it is not paused. */
  onTrouble?: (trouble: string | null) => void
}

/** Patience for the first request: a server that was never there is given up sooner than one that disappeared. */
export const FIRST_PATIENCE_MS = 5_000

const ATTEMPT_MS = 60_000
const SILENCE_MS = 45_000
const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 10_000

/**
 * Creates a client that survives restarts of the server: it retries broken connections, timeouts, 408, 429 and 5xx, not before their
 * `Retry-After`. The package's client counts attempts; a command measures time instead: it gives up when the server was unavailable for too
 * long, and never while the server is only busy.
 */
export function createClient(deps: ClientDeps): Client {
  const base = deps.url.replace(/\/+$/, '')
  const http = createHttp({
    url: base,
    headers: {
      ...(deps.key === undefined ? {} : { authorization: `Bearer ${deps.key}` }),
      ...(deps.tenant === undefined ? {} : { 'x-tenant': deps.tenant }),
    },
    fetch: deps.fetch,
    retries: {
      attempts: Number.POSITIVE_INFINITY,
      firstWaitMs: FIRST_WAIT_MS,
      longestWaitMs: LONGEST_WAIT_MS,
    },
    timeoutMs: ATTEMPT_MS,
    silenceMs: SILENCE_MS,
    random: deps.random,
    sleep: async (ms, signal) => void (await deps.sleep(ms, signal ?? deps.signal)),
  })

  async function send<T>(
    path: string,
    options: RequestOptions,
    ask: (options: SendOptions) => Promise<T>,
  ): Promise<T> {
    const { patienceMs = deps.patienceMs, signal = deps.signal, ...rest } = options
    try {
      const answer = await ask({ ...rest, signal, waitAfter: createPatience(patienceMs) })
      deps.onTrouble?.(null)
      return answer
    } catch (error) {
      throw error instanceof SluiceError ? toCliError(error, path) : error
    }
  }

  /** For one request: returns how long to wait after each failure, or null to give up. */
  function createPatience(patienceMs: number): NonNullable<SendOptions['waitAfter']> {
    let awaySince: number | null = null
    return (error, failed) => {
      const wait = Math.max(http.backOff(failed), (error.retryAfterSeconds ?? 0) * 1000)
      // A server that answers 429 is available. It is only busy, which is no reason to give up.
      awaySince = error.status === 429 ? null : (awaySince ?? deps.now())
      if (awaySince !== null && deps.now() + wait - awaySince > patienceMs) return null
      deps.onTrouble?.(describeTrouble(error))
      return wait
    }
  }

  function toCliError(error: SluiceError, path: string): CliError {
    if (!error.isRetryable) return new RefusedError(error.status ?? 0, error, path)
    const what = error.status === null ? 'does not answer' : 'cannot serve now'
    return new CliError(ExitCode.unavailable, `${base} ${what}: ${describeTrouble(error)}`)
  }

  return {
    request: (method, path, options = {}) => send(path, options, (how) => http.text(method, path, how)),
    json: (method, path, options = {}) => send(path, options, (how) => http.json(method, path, how)),
    open: (path, options = {}) => send(path, options, (how) => http.open('GET', path, how)),
  }
}

/** A readable path without its query: `/v1/lanes/openai/gpt-5`. */
function decodePath(path: string): string {
  return decodeURIComponent(path.replace(/\?.*$/, ''))
}

function describeTrouble({ status, message, cause }: SluiceError): string {
  if (status !== null || !(cause instanceof Error)) return message
  if (cause.name === 'TimeoutError') return 'no answer in time'
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message
}
