import type { ErrorMembers, Job } from './openapi.ts'

/**
 * A code of the server (`queue_full`, `not_found`, …), or one of the client. `unreachable`: no answer came.
 * `invalid_answer`: the answer was not Sluice's. `wait_timeout`: the job did not end in the given time.
 * `duplicate_step`: a durable run has two steps of one name. A later server may have more.
 */
export type SluiceErrorCode =
  | ErrorMembers['code']
  | 'unreachable'
  | 'invalid_answer'
  | 'wait_timeout'
  | 'duplicate_step'
  | (string & Record<never, never>)

export type SluiceErrorMembers = {
  /** HTTP status; null if no answer came. */
  status: number | null
  /** For programs. */
  code: SluiceErrorCode
  /** For people: what was wrong, and where. */
  message: string
  /** The member, query parameter or header at fault. */
  param?: string | null
  /** The id of the request in the server's log. */
  requestId?: string | null
  /** When another attempt may help; null if the server named no time. */
  retryAfterSeconds?: number | null
  /** Whether another attempt, with nothing changed, may help. */
  isRetryable?: boolean
  /** The cause, if no answer came. */
  cause?: unknown
}

/** A request that was refused, or got no answer after all its attempts. */
export class SluiceError extends Error {
  override readonly name = 'SluiceError'
  readonly status: number | null
  readonly code: SluiceErrorCode
  readonly param: string | null
  readonly requestId: string | null
  readonly retryAfterSeconds: number | null
  readonly isRetryable: boolean

  constructor(members: SluiceErrorMembers) {
    super(members.message, 'cause' in members ? { cause: members.cause } : undefined)
    this.status = members.status
    this.code = members.code
    this.param = members.param ?? null
    this.requestId = members.requestId ?? null
    this.retryAfterSeconds = members.retryAfterSeconds ?? null
    this.isRetryable = members.isRetryable ?? false
  }
}

/** A job that ended without a result: it failed, or was cancelled. */
export class JobFailedError extends Error {
  override readonly name = 'JobFailedError'
  /** The job as it ended; `job.error` says why. */
  readonly job: Job

  constructor(job: Job) {
    super(job.error === null ? `the job is ${job.status}` : `${job.error.code}: ${job.error.message}`)
    this.job = job
  }
}

/** The error of an answer, from the server or from a proxy in front of it. */
export function toSluiceError({ status, headers }: Response, text: string): SluiceError {
  const seconds = Number(headers.get('retry-after') ?? Number.NaN)
  const isFinal = headers.get('x-should-retry') === 'false'
  return new SluiceError({
    code: 'invalid_answer',
    message: `the server answered ${status}`,
    ...readMembers(text),
    status,
    requestId: headers.get('x-request-id'),
    retryAfterSeconds: Number.isFinite(seconds) ? seconds : null,
    isRetryable: !isFinal && (status === 408 || status === 429 || status >= 500),
  })
}

function readMembers(text: string): { code?: string; message?: string; param?: string | null } {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: unknown; message?: unknown; param?: unknown } }
    return {
      ...(typeof error?.code === 'string' && { code: error.code }),
      ...(typeof error?.message === 'string' && { message: error.message }),
      ...(typeof error?.param === 'string' && { param: error.param }),
    }
  } catch {
    return {}
  }
}
