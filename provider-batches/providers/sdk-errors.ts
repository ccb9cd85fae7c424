import { BatchApiError } from './batch-api.ts'

/** What both SDKs throw for an error status, and without an answer. */
type SdkError = Error & { status?: number; code?: string | null; type?: string | null }

/** Runs a request of an SDK and turns its errors into BatchApiError. */
export async function ask<T>(what: string, request: () => PromiseLike<T>): Promise<T> {
  try {
    return await request()
  } catch (error) {
    throw toBatchApiError(what, error)
  }
}

export function toBatchApiError(what: string, error: unknown): Error {
  if (error instanceof BatchApiError) return error
  if (!(error instanceof Error)) return new BatchApiError(what, null, null, { cause: error })
  const { status, code, type } = error as SdkError
  if (
    status === undefined &&
    error.name !== 'APIConnectionError' &&
    error.name !== 'APIConnectionTimeoutError'
  ) {
    // Errors that are not the provider's: of the store, or of a line that cannot be written.
    const isOfSdk = error.constructor.name.startsWith('API')
    if (!isOfSdk && !isOfConnection(error)) return error
  }
  const said = status === undefined ? 'no answer' : `status ${status}`
  return new BatchApiError(
    `${what}: ${said}: ${error.message.slice(0, 500)}`,
    status ?? null,
    code ?? type ?? null,
    {
      cause: error,
    },
  )
}

function isOfConnection(error: Error): boolean {
  const { code } = (error.cause ?? error) as { code?: unknown }
  return (
    typeof code === 'string' && /^(?:UND_ERR|ECONN|EPIPE|ENOTFOUND|ETIMEDOUT|EAI_AGAIN|ERR_STREAM)/.test(code)
  )
}
