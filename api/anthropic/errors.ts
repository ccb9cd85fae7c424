import { z } from 'zod'
import type { JsonObject } from '../../lib/json.ts'
import { type ApiError, toErrorMembers } from '../errors.ts'

export const anthropicTags = ['Anthropic-compatible']

const errorSchema = z
  .object({
    type: z.literal('error'),
    error: z.looseObject({ type: z.string(), message: z.string() }),
    request_id: z.string(),
  })
  .meta({ id: 'AnthropicErrorAnswer', description: "An error in Anthropic's shape." })

export const anthropicErrors = { '4xx': errorSchema, '5xx': errorSchema }

/** Error types that Anthropic's clients know, by status (Anthropic, "Errors"). */
const TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  409: 'conflict_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

/**
 * Converts an error to Anthropic's shape. An error of Anthropic keeps its type; others get the type for their status. Our `code` and
 * `param` are added.
 */
export function shapeError(
  { status, error }: { status: number; error: JsonObject },
  requestId: string,
): JsonObject {
  const { type, message, code = null, param = null, ...rest } = error
  const known = Object.values(TYPES).includes(String(type)) || type === 'api_error'
  return {
    type: 'error',
    error: { ...rest, type: known ? type! : typeOf(status), message: message ?? '', code, param },
    request_id: requestId,
  }
}

/** The same for a request that is refused before it becomes a job. */
export function shapeApiError(error: ApiError, requestId: string): JsonObject {
  return shapeError(
    { status: error.status, error: { ...toErrorMembers(error), type: typeOf(error.status) } },
    requestId,
  )
}

function typeOf(status: number): string {
  return TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error')
}
