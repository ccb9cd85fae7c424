/** The `type` of an error, as the OpenAI SDKs know it. */
export type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'not_found_error'
  | 'rate_limit_error'
  | 'server_error'

type ErrorRule = {
  status: number
  type: ErrorType
  /** Seconds after which a retry may help; null: a retry will not help. */
  retryAfterSeconds: number | null
}

/** Every error of the API: its status, its type, and when a retry may help. */
export const errorTable = {
  invalid_request: { status: 400, type: 'invalid_request_error', retryAfterSeconds: null },
  unauthorized: { status: 401, type: 'authentication_error', retryAfterSeconds: null },
  forbidden: { status: 403, type: 'permission_error', retryAfterSeconds: null },
  not_found: { status: 404, type: 'not_found_error', retryAfterSeconds: null },
  model_not_found: { status: 404, type: 'not_found_error', retryAfterSeconds: null },
  request_timeout: { status: 408, type: 'invalid_request_error', retryAfterSeconds: 1 },
  unsupported_type: { status: 400, type: 'invalid_request_error', retryAfterSeconds: null },
  not_cancellable: { status: 409, type: 'invalid_request_error', retryAfterSeconds: null },
  not_signallable: { status: 409, type: 'invalid_request_error', retryAfterSeconds: null },
  not_retryable: { status: 409, type: 'invalid_request_error', retryAfterSeconds: null },
  step_changed: { status: 409, type: 'invalid_request_error', retryAfterSeconds: null },
  already_signalled: { status: 409, type: 'invalid_request_error', retryAfterSeconds: null },
  signal_timeout: { status: 409, type: 'invalid_request_error', retryAfterSeconds: null },
  events_expired: { status: 410, type: 'invalid_request_error', retryAfterSeconds: null },
  tenant_exists: { status: 409, type: 'invalid_request_error', retryAfterSeconds: null },
  tenant_in_use: { status: 409, type: 'invalid_request_error', retryAfterSeconds: null },
  no_tenants: { status: 409, type: 'invalid_request_error', retryAfterSeconds: null },
  read_only: { status: 409, type: 'invalid_request_error', retryAfterSeconds: null },
  payload_too_large: { status: 413, type: 'invalid_request_error', retryAfterSeconds: null },
  storage_full: { status: 413, type: 'invalid_request_error', retryAfterSeconds: null },
  upgrade_required: { status: 426, type: 'invalid_request_error', retryAfterSeconds: null },
  idempotency_key_reused: { status: 422, type: 'invalid_request_error', retryAfterSeconds: null },
  too_many_tenants: { status: 422, type: 'invalid_request_error', retryAfterSeconds: null },
  too_many_keys: { status: 422, type: 'invalid_request_error', retryAfterSeconds: null },
  too_many_budgets: { status: 422, type: 'invalid_request_error', retryAfterSeconds: null },
  too_many_schedules: { status: 422, type: 'invalid_request_error', retryAfterSeconds: null },
  exceeds_limit: { status: 422, type: 'invalid_request_error', retryAfterSeconds: null },
  deadline_unreachable: { status: 422, type: 'invalid_request_error', retryAfterSeconds: null },
  queue_full: { status: 429, type: 'rate_limit_error', retryAfterSeconds: 5 },
  rate_limited: { status: 429, type: 'rate_limit_error', retryAfterSeconds: 1 },
  budget_exhausted: { status: 429, type: 'rate_limit_error', retryAfterSeconds: 60 },
  headers_too_large: { status: 431, type: 'invalid_request_error', retryAfterSeconds: null },
  internal_error: { status: 500, type: 'server_error', retryAfterSeconds: null },
  unavailable: { status: 503, type: 'server_error', retryAfterSeconds: 2 },
  file_store_unavailable: { status: 503, type: 'server_error', retryAfterSeconds: 5 },
} as const satisfies Record<string, ErrorRule>

export type ErrorCode = keyof typeof errorTable

/** The members of `error` in every error answer; all four are always present. */
export type ErrorMembers = { message: string; type: ErrorType; param: string | null; code: ErrorCode }

export type ApiErrorOptions = {
  /** The member or header at fault. */
  param?: string | null
  /** Overrides the table's time; null: a retry will not help. */
  retryAfterSeconds?: number | null
}

/** A refusal whose message is for the client. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: ErrorCode
  readonly param: string | null
  readonly retryAfterSeconds: number | null

  constructor(code: ErrorCode, message: string, options: ApiErrorOptions = {}) {
    super(message)
    this.code = code
    this.param = options.param ?? null
    const { retryAfterSeconds = errorTable[code].retryAfterSeconds } = options
    this.retryAfterSeconds = retryAfterSeconds
  }

  get status(): number {
    return errorTable[this.code].status
  }
}

/** The four members of an error, for an answer of its own or for one line of a bulk answer. */
export function toErrorMembers(error: ApiError): ErrorMembers {
  return { message: error.message, type: errorTable[error.code].type, param: error.param, code: error.code }
}

/** Headers that tell a client whether and when to retry. */
export function toErrorHeaders(error: ApiError): Record<string, string> {
  const headers: Record<string, string> =
    error.retryAfterSeconds === null
      ? { 'x-should-retry': 'false' }
      : { 'retry-after': String(Math.max(1, Math.ceil(error.retryAfterSeconds))) }
  if (error.code === 'unauthorized') headers['www-authenticate'] = 'Bearer'
  return headers
}

/** An object of another tenant gets exactly the same answer as one that does not exist. */
export function notFound(
  what:
    | 'job'
    | 'group'
    | 'delivery'
    | 'lane'
    | 'route'
    | 'file'
    | 'batch'
    | 'response'
    | 'item'
    | 'tenant'
    | 'key'
    | 'flow'
    | 'durable run'
    | 'step'
    | 'schedule'
    | 'budget',
): ApiError {
  return new ApiError('not_found', `no such ${what}`)
}

/** Patterns of ids and names. Other texts cannot exist, and could name other keys. */
export const idPatterns = {
  job: /^job_[A-Za-z0-9_-]{1,64}$/,
  group: /^[A-Za-z0-9_.:-]{1,128}$/,
  delivery: /^whd_[A-Za-z0-9_-]{1,96}$/,
  file: /^file-[A-Za-z0-9_-]{1,120}$/,
  batch: /^batch_[A-Za-z0-9_]{1,64}$/,
  flow: /^flow_[A-Za-z0-9_-]{1,64}$/,
  'durable run': /^(?!\.{1,2}$)[\x20-\x7e]{1,128}$/,
  step: /^(?!\.{1,2}$)[\x20-\x7e]{1,128}$/,
  schedule: /^sch_[A-Za-z0-9]{1,64}$/,
  run: /^run_[0-9]{1,15}$/,
} as const satisfies Record<string, RegExp>

/** Checks an id of a path. An impossible id gets the same answer as an unknown one. */
export function checkId(id: string, what: Exclude<keyof typeof idPatterns, 'run'>): string {
  if (!idPatterns[what].test(id)) throw notFound(what)
  return id
}
