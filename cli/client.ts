import { SluiceError } from '../client/errors.ts'
import { createHttp, type OpenAnswer, type RequestOptions as SendOptions } from '../client/http.ts'
import { CliError, ExitCode } from './exit.ts'

/** The `error` of an answer, or of one line of a bulk answer. */
export type ErrorMembers = { message: string; type: string; param: string | null; code: string | null }

/** The server refused, and would again. */
export class RefusedError extends CliError {
  readonly status: number
  readonly members: Pick<SluiceError, 'message' | 'param' | 'code'>

  /** @param path what was asked for; the message gets it if the server says only what kind of thing it does not have */
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
  /** Of one attempt, in ms; 60 s. */
  timeoutMs?: number
  /** How long the server may be away, in ms; the client's own unless given. */
  patienceMs?: number
  /** Ends the request as the end of the command does. */
  signal?: AbortSignal
}

/** Talks to one server. Every request it makes may be sent twice. */
export type Client = {
  /** The text of the answer. Throws RefusedError, or CliError once the server was away for too long. */
  request(method: string, path: string, options?: RequestOptions): Promise<string>
  /** The answer as JSON. */
  json<T>(method: string, path: string, options?: RequestOptions): Promise<T>
  /** An answer whose body is read as it comes; status 200 or 204. */
  open(path: string, options?: RequestOptions): Promise<OpenAnswer>
}

export type ClientDeps = {
  url: string
  key: string | undefined
  /** The tenant that an admin acts as; the key's own unless given. */
  tenant?: string
  fetch: typeof fetch
  sleep: (ms: number, signal: AbortSignal) => Promise<unknown>
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
  /** Draws from [0, 1). */
  random: () => number
  /** Aborts all running work. */
  signal: AbortSignal
  /** How long the server may be away before the command gives up, in ms. */
  patienceMs: number
  /** Why the work is paused at the moment. Null: it is not paused. */
  onTrouble?: (trouble: string | null) => void
}

/** A server that was never there is given up sooner than one that went away. */
export const FIRST_PATIENCE_MS = 5_000

const ATTEMPT_MS = 60_000
const SILENCE_MS = 45_000
const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 10_000

/**
 * A client that lives through restarts of the server: connections that break, time-outs, 408, 429 and 5xx are tried
 * again, not before their `Retry-After`. Where the package's client counts attempts, a command looks at the clock: it gives up
 * when the server was away for so long, and never while it is only busy.
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

  /** For one request: how long to wait after each of its failures. */
  function createPatience(patienceMs: number): NonNullable<SendOptions['waitAfter']> {
    let awaySince: number | null = null
    return (error, failed) => {
      const wait = Math.max(http.backOff(failed), (error.retryAfterSeconds ?? 0) * 1000)
      // A server that answers 429 is there; that it is busy is no reason to give up.
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

/** `/v1/lanes/openai/gpt-5`, as people write it; without its query. */
function decodePath(path: string): string {
  return decodeURIComponent(path.replace(/\?.*$/, ''))
}

function describeTrouble({ status, message, cause }: SluiceError): string {
  if (status !== null || !(cause instanceof Error)) return message
  if (cause.name === 'TimeoutError') return 'no answer in time'
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message
}
