import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { FileStoreError, type FileStoreFault } from '../files/object-store.ts'
import { isHistoryUnavailable } from '../history/errors.ts'
import { InputError } from '../jobs/input-error.ts'
import { isRedisUnavailable } from '../lib/redis.ts'
import { UnfitRedisError } from '../lib/redis-fault.ts'
import { ApiError, toErrorHeaders, toErrorMembers } from './errors.ts'

/** Converts any thrown value to an error for the client. An unknown one becomes an internal error. */
export function toApiError(error: unknown, isUnavailable: (error: unknown) => boolean): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof FileStoreError) {
    return new ApiError('file_store_unavailable', fileStoreMessages[error.fault])
  }
  if (error instanceof InputError) return fromInputError(error)
  if (error instanceof UnfitRedisError) return new ApiError('unavailable', error.message)
  if (isHistoryUnavailable(error)) {
    return new ApiError('unavailable', `${(error as Error).message}; try again shortly`)
  }
  if (isUnavailable(error)) return new ApiError('unavailable', 'the store does not answer; try again shortly')
  if (isFrameworkError(error)) return fromFrameworkError(error)
  return new ApiError(
    'internal_error',
    'something went wrong on our side; the log has it under this x-request-id',
  )
}

const fileStoreMessages: Record<FileStoreFault, string> = {
  away: 'the store of files does not answer; try again shortly',
  full: 'the store of files has no room left; the log says which',
  refused: 'the store of files refuses this service; the log says why',
  missing: 'the store of files is not there; the log says which',
}

/** A file that a body names does not exist. */
export function fromInputError({ message, param }: InputError): ApiError {
  return new ApiError('invalid_request', message, { param })
}

/** Answers an error in our shape. Internal errors are logged with everything that the client is not told. */
export function sendError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  isUnavailable: (error: unknown) => boolean,
  shape: (error: ApiError, requestId: string) => object = (shown) => ({ error: toErrorMembers(shown) }),
): FastifyReply {
  const shown = toApiError(error, isUnavailable)
  if (shown.code === 'internal_error') request.log.error({ err: error }, 'request failed')
  else if (shown.code === 'unavailable') {
    // An unavailable Redis or history has a log line of its own, once. A line for each request would flood the log.
    const isKnown = error instanceof ApiError || isRedisUnavailable(error) || isHistoryUnavailable(error)
    request.log[isKnown ? 'debug' : 'warn']({ err: error }, 'request refused: unavailable')
  }
  return (
    reply
      .code(shown.status)
      .headers({ ...toErrorHeaders(shown), 'x-request-id': request.id, 'cache-control': 'no-store' })
      .type('application/json; charset=utf-8')
      // The route's own serializer is not used: an error must be answered even if a route's schemas are wrong.
      .serializer((payload: unknown) => JSON.stringify(payload))
      .send(shape(shown, request.id))
  )
}

function isFrameworkError(error: unknown): error is FastifyError {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('FST_')
  )
}

function fromFrameworkError(error: FastifyError): ApiError {
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ApiError(
        'invalid_request',
        'this route does not accept the content-type; most accept application/json',
        {
          param: 'content-type',
        },
      )
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ApiError('payload_too_large', 'the body is too large')
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new ApiError('not_found', 'no such route')
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_INVALID_URL':
      return new ApiError('invalid_request', 'the path of the URL is not valid')
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new ApiError('invalid_request', 'the request could not be read')
  }
  return new ApiError(
    'internal_error',
    'something went wrong on our side; the log has it under this x-request-id',
  )
}
