import { CliError, ExitCode } from './exit.ts'

/** The `error` of an answer, or of one line of a bulk answer. */
export type ErrorMembers = { message: string; type: string; param: string | null; code: string | null }

/** The server refused, and would again. */
export class RefusedError extends CliError {
  readonly status: number
  readonly members: ErrorMembers

  constructor(status: number, members: ErrorMembers) {
    super(status === 401 || status === 403 ? ExitCode.unauthorized : ExitCode.failed, members.message)
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
}

/** Talks to one server. Every request it makes may be sent twice. */
export type Client = {
  /** The text of the answer. Throws RefusedError, or CliError once the server was away for too long. */
  request(method: string, path: string, options?: RequestOptions): Promise<string>
  /** The answer as JSON. */
  json<T>(method: string, path: string, options?: RequestOptions): Promise<T>
  /** An answer whose body is read as it comes; status 200 or 204. */
  open(path: string, headers: Record<string, string>, patienceMs: number): Promise<Response>
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
  /** Ends whatever is under way. */
  signal: AbortSignal
  /** How long the server may be away before the command gives up, in ms. */
  patienceMs: number
  /** Why nothing goes on at the moment; null: it goes on. */
  onTrouble?: (trouble: string | null) => void
}

/** A server that was never there is given up sooner than one that went away. */
export const FIRST_PATIENCE_MS = 5_000

const ATTEMPT_MS = 60_000
const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 10_000

type Answer<T> = { response: Response; content: T } | { lost: string }

/**
 * A client that lives through restarts of the server: connections that break, time-outs, 408, 429 and 5xx are tried
 * again, not before their `Retry-After`.
 */
export function createClient(deps: ClientDeps): Client {
  const base = deps.url.replace(/\/+$/, '')
  const who = {
    ...(deps.key === undefined ? {} : { authorization: `Bearer ${deps.key}` }),
    ...(deps.tenant === undefined ? {} : { 'x-tenant': deps.tenant }),
  }

  async function attempt<T>(
    method: string,
    path: string,
    options: RequestOptions,
    read: (response: Response) => Promise<T>,
  ): Promise<Answer<T>> {
    const ending = new AbortController()
    const leave = () => ending.abort(deps.signal.reason)
    deps.signal.addEventListener('abort', leave)
    let isLate = false
    // A stream has no end to wait for: only its beginning is timed.
    const timer = setTimeout(() => {
      isLate = true
      ending.abort()
    }, options.timeoutMs ?? ATTEMPT_MS)
    try {
      const response = await deps.fetch(base + path, {
        method,
        redirect: 'manual',
        headers: { ...who, ...options.headers },
        signal: ending.signal,
        ...(options.body === undefined ? {} : { body: options.body }),
      })
      const content = await read(response)
      // Whoever reads the body of a stream still has to hear of the end.
      if (response.bodyUsed) deps.signal.removeEventListener('abort', leave)
      return { response, content }
    } catch (error) {
      deps.signal.removeEventListener('abort', leave)
      deps.signal.throwIfAborted()
      return { lost: isLate ? 'no answer in time' : describe(error) }
    } finally {
      clearTimeout(timer)
    }
  }

  async function send<T>(
    method: string,
    path: string,
    options: RequestOptions,
    read: (response: Response) => Promise<T>,
  ): Promise<{ response: Response; content: T }> {
    const patience = options.patienceMs ?? deps.patienceMs
    let awaySince: number | null = null
    for (let attempts = 0; ; attempts++) {
      deps.signal.throwIfAborted()
      const answer = await attempt(method, path, options, read)
      if ('response' in answer && answer.response.ok) {
        deps.onTrouble?.(null)
        return answer
      }
      let wait = backOff(attempts, deps.random)
      let trouble: string
      if ('lost' in answer) trouble = answer.lost
      else {
        const { response, content } = answer
        const members = readError(response.status, content)
        if (!mayRetry(response)) throw new RefusedError(response.status, members)
        wait = Math.max(wait, readRetryAfter(response))
        trouble = members.message
      }
      // A server that answers 429 is there; that it is busy is no reason to give up.
      const isAway = 'lost' in answer || answer.response.status !== 429
      awaySince = isAway ? (awaySince ?? deps.now()) : null
      if (awaySince !== null && deps.now() + wait - awaySince > patience) {
        const what = 'lost' in answer ? 'does not answer' : 'cannot serve now'
        throw new CliError(ExitCode.unavailable, `${base} ${what}: ${trouble}`)
      }
      deps.onTrouble?.(trouble)
      await deps.sleep(wait, deps.signal)
    }
  }

  const request: Client['request'] = async (method, path, options = {}) =>
    (await send(method, path, options, (response) => response.text())).content

  return {
    request,
    json: async (method, path, options) => JSON.parse(await request(method, path, options)),
    async open(path, headers, patienceMs) {
      const read = async (response: Response) => (response.ok ? null : await response.text())
      return (await send('GET', path, { headers, patienceMs }, read)).response
    },
  }
}

/** Equal jitter: half of the time is certain, so that a server that just came up is not run over. */
function backOff(attempts: number, random: () => number): number {
  const cap = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempts)
  return cap / 2 + (random() * cap) / 2
}

function mayRetry({ status, headers }: Response): boolean {
  if (headers.get('x-should-retry') === 'false') return false
  return status === 408 || status === 429 || status >= 500
}

function readRetryAfter({ headers }: Response): number {
  const seconds = Number(headers.get('retry-after') ?? 0)
  return Number.isFinite(seconds) ? seconds * 1000 : 0
}

function readError(status: number, content: unknown): ErrorMembers {
  const unknown = { message: `the server answered ${status}`, type: 'server_error', param: null, code: null }
  try {
    const parsed = JSON.parse(String(content)) as { error?: Partial<ErrorMembers> }
    return { ...unknown, ...parsed.error }
  } catch {
    return unknown
  }
}

function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(cause instanceof Error)) return String(cause)
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message
}
