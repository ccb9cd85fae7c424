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
  method?: 'GET' | 'POST' | 'DELETE'
  body?: object
  /** As whom; the key's own tenant unless given. */
  tenant?: string | null
  lastEventId?: string
  signal?: AbortSignal
}

export type Api = {
  json<Body>(path: string, options?: RequestOptions): Promise<Body>
  /** The answer itself, for streams and downloads. Throws an ApiFailure for everything but 2xx. */
  open(path: string, options?: RequestOptions): Promise<Response>
}

/**
 * @param deps.base what stands before `/v1/…`
 * @param deps.key the key as it is now; null: none is known
 * @param deps.onRefused told when the key as it is now gets a 401
 */
export function createApi(deps: {
  fetch: typeof fetch
  base: string
  key: () => string | null
  onRefused: () => void
}): Api {
  async function open(path: string, options: RequestOptions = {}): Promise<Response> {
    const { method = 'GET', body, tenant, lastEventId, signal } = options
    const key = deps.key()
    const headers: Record<string, string> = {}
    if (key !== null) headers.authorization = `Bearer ${key}`
    if (tenant) headers['x-tenant'] = tenant
    if (lastEventId) headers['last-event-id'] = lastEventId
    if (body !== undefined) headers['content-type'] = 'application/json'
    let response: Response
    try {
      response = await deps.fetch(deps.base + path, {
        method,
        headers,
        cache: 'no-store',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal === undefined ? {} : { signal }),
      })
    } catch (error) {
      if (signal?.aborted) throw error
      throw new ApiFailure(0, null, 'The server does not answer.')
    }
    if (response.ok) return response
    // A late answer to the key before this one says nothing of this one.
    if (response.status === 401 && key === deps.key()) deps.onRefused()
    throw await toFailure(response)
  }

  return {
    open,
    async json<Body>(path: string, options?: RequestOptions) {
      return (await (await open(path, options)).json()) as Body
    },
  }
}

/** The shape of every error of the API. */
type ErrorAnswer = { error?: { code: string | null; message: string } }

async function toFailure(response: Response): Promise<ApiFailure> {
  const answer = (await response.json().catch(() => null)) as ErrorAnswer | null
  const error = answer?.error
  const message = error?.message || `The server answered ${response.status}`
  return new ApiFailure(response.status, error?.code ?? null, toSentence(message))
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
