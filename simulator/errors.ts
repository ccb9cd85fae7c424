import type { JsonObject } from '../lib/json.ts'
import type { Admission } from './limiter.ts'
import { formatReset } from './limiter.ts'

/** An error answer in OpenAI's format, with the wait for the headers, ms. */
export type ErrorAnswer = { status: number; error: JsonObject; retryAfterMs?: number }

/** The 400 for an invalid request. */
export function invalidRequest(
  message: string,
  param: string | null,
  code: string | null = null,
): ErrorAnswer {
  return { status: 400, error: { message, type: 'invalid_request_error', param, code } }
}

/** The 404 for an unknown model. */
export function modelNotFound(model: string): ErrorAnswer {
  const message = `The model \`${model}\` does not exist or you do not have access to it.`
  return {
    status: 404,
    error: { message, type: 'invalid_request_error', param: null, code: 'model_not_found' },
  }
}

/** The 401 for an unknown key. */
export function wrongKey(): ErrorAnswer {
  return faultAnswer(401, 0)
}

const UNITS = {
  requests: 'requests per min (RPM)',
  tokens: 'tokens per min (TPM)',
  images: 'images per min (IPM)',
  audio_seconds: 'audio seconds per min',
}

/** The 429 for an exhausted limit, or for a call larger than the whole limit. */
export function rateLimited(
  refusal: Extract<Admission, { admitted: false }>,
  model: string,
  limit: number,
  requested: number,
): ErrorAnswer {
  const unit = UNITS[refusal.by]
  const numbers = `Limit ${limit}, Used ${Math.ceil(refusal.used)}, Requested ${requested}`
  const isHopeless = refusal.waitMs === Number.POSITIVE_INFINITY
  const message = isHopeless
    ? `Request too large for ${model} in organization org-simulator on ${unit}: Limit ${limit}, Requested ${requested}.`
    : `Rate limit reached for ${model} in organization org-simulator on ${unit}: ${numbers}. Please try again in ${formatReset(refusal.waitMs)}.`
  const answer: ErrorAnswer = {
    status: 429,
    error: { message, type: refusal.by, param: null, code: 'rate_limit_exceeded' },
  }
  return isHopeless ? answer : { ...answer, retryAfterMs: refusal.waitMs }
}

/** Converts an error to Gemini's format, with the wait in the body as a `RetryInfo` (google.rpc, error_details.proto). */
export function toGeminiError({ status, retryAfterMs }: ErrorAnswer): ErrorAnswer {
  const details =
    retryAfterMs === undefined
      ? []
      : [
          {
            '@type': 'type.googleapis.com/google.rpc.RetryInfo',
            retryDelay: `${Math.ceil(retryAfterMs) / 1000}s`,
          },
        ]
  return {
    status,
    error: { code: status, message: 'Resource has been exhausted.', status: 'RESOURCE_EXHAUSTED', details },
  }
}

/** The 429 for too many concurrent calls. */
export function tooManyAtOnce(limit: number): ErrorAnswer {
  const message = `Too many concurrent requests: limit ${limit}.`
  const error = { message, type: 'requests', param: null, code: 'concurrency_limit_exceeded' }
  return { status: 429, error, retryAfterMs: 1000 }
}

/** The answer for a fault that is an HTTP status. */
export function faultAnswer(status: number, retryAfterMs: number): ErrorAnswer {
  const [type, code, message] = FAULTS[status] ?? ['server_error', null, 'The server had an error.']
  const error = { message: `${message} (simulated)`, type, param: null, code }
  const waits = status === 429 || status === 503 || status === 529
  return waits ? { status, error, retryAfterMs } : { status, error }
}

/** The 429 for an exhausted quota. */
export function quotaExceeded(): ErrorAnswer {
  const message = 'You exceeded your current quota, please check your plan and billing details.'
  return {
    status: 429,
    error: { message, type: 'insufficient_quota', param: null, code: 'insufficient_quota' },
  }
}

/** OpenAI's refusal of a flex call for want of capacity; OpenAI does not bill it. */
export function flexUnavailable(retryAfterMs: number): ErrorAnswer {
  const message = 'Resource unavailable: there is no flex capacity for this request now. (simulated)'
  return {
    status: 429,
    error: { message, type: 'resource_unavailable', param: null, code: 'resource_unavailable' },
    ...(retryAfterMs > 0 ? { retryAfterMs } : {}),
  }
}

const FAULTS: Record<number, [type: string, code: string | null, message: string]> = {
  400: ['invalid_request_error', null, 'Invalid request.'],
  401: ['invalid_request_error', 'invalid_api_key', 'Incorrect API key provided: sk-simu**********ated.'],
  403: ['invalid_request_error', 'unsupported_country_region_territory', 'Country not supported.'],
  404: ['invalid_request_error', 'model_not_found', 'The model does not exist.'],
  408: ['server_error', 'request_timeout', 'Request timed out.'],
  409: ['server_error', 'conflict', 'The resource is locked.'],
  413: ['invalid_request_error', null, 'Request body too large.'],
  422: ['invalid_request_error', null, 'Unprocessable request.'],
  429: ['requests', 'rate_limit_exceeded', 'Rate limit reached.'],
  498: ['server_error', 'capacity_exceeded', 'Flex tier capacity exceeded.'],
  502: ['server_error', 'bad_gateway', 'Bad gateway.'],
  503: ['server_error', 'service_unavailable', 'The engine is currently overloaded.'],
  504: ['server_error', 'gateway_timeout', 'Gateway timeout.'],
  529: ['overloaded_error', null, 'Overloaded.'],
}
