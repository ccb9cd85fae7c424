import type { JobError } from '../../jobs/job.ts'
import type { JsonObject } from '../../lib/json.ts'
import { lookUp } from '../../lib/look-up.ts'

/** A failure as an OpenAI client sees it. */
export type Failure = {
  status: number
  /** `message`, `type`, `param` and `code`, and all other members that the provider sent. */
  error: JsonObject
  /** Whether asking again may help. */
  isRetryable: boolean
}

/** Failures that are ours, or of which the provider gave no status. All others are a bad gateway. */
const STATUSES: Record<string, number> = {
  timeout: 504,
  deadline_exceeded: 504,
  exceeds_limit: 422,
  worker_lost: 503,
  undecryptable: 500,
}
const BAD_GATEWAY = 502

/** The provider's own status and error object where it gave them, else ours in the same shape. */
export function describeFailure(failed: JobError): Failure {
  const status = statusOf(failed)
  const given = failed.provider_error
  const error: JsonObject = {
    ...given,
    message: textOf(given?.message) ?? failed.message,
    type: textOf(given?.type) ?? typeOf(status),
    param: given?.param ?? null,
    code: given ? (given.code ?? null) : failed.code,
  }
  return { status, error, isRetryable: failed.retryable }
}

/** The job was cancelled by somebody else, or deleted. */
export function describeCancellation(): Failure {
  const message = 'the job of this request was cancelled'
  const error = { message, type: 'invalid_request_error', param: null, code: 'job_cancelled' }
  return { status: 409, error, isRetryable: false }
}

/** The answer broke off after parts of it were sent, which cannot be taken back. */
export function describeBreak(reason: string): Failure {
  const message = `the answer broke off underway (${reason}); ask again for a whole one`
  return {
    status: BAD_GATEWAY,
    error: { message, type: 'server_error', param: null, code: reason },
    isRetryable: true,
  }
}

function statusOf(failed: JobError): number {
  const { provider_status: status, provider_error: given } = failed
  if (isErrorStatus(status)) return status
  // Errors that came with a 200 or in a stream.
  const named = Number(given?.code)
  if (isErrorStatus(named)) return named
  return lookUp(STATUSES, failed.code) ?? (given && !failed.retryable ? 400 : BAD_GATEWAY)
}

function isErrorStatus(status: number | null): status is number {
  return status !== null && status >= 400 && status <= 599
}

/** As OpenAI names them, for providers that do not. */
function typeOf(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 403) return 'permission_error'
  if (status === 404) return 'not_found_error'
  if (status === 429) return 'rate_limit_error'
  return status < 500 ? 'invalid_request_error' : 'server_error'
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
