import type { FastifyRequest } from 'fastify'
import type { JsonValue } from '../lib/json.ts'
import { ApiError } from './errors.ts'

/** The body of a request that takes any JSON value, null among them. Throws `invalid_request` where there is none. */
export function readAnyJson({ body, headers }: Pick<FastifyRequest, 'body' | 'headers'>): JsonValue {
  if (body === undefined || headers['content-type'] === undefined)
    throw new ApiError('invalid_request', 'body: expected JSON', { param: 'body' })
  return body as JsonValue
}
