import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { ApiError, toErrorHeaders, toErrorMembers } from './errors.ts'

/**
 * Answers what is not a valid request (malformed HTTP, headers too large or too slow) in the shape of our errors, then closes the
 * connection. The framework never sees these, so the bytes are written here.
 */
export function answerClientError(error: { code: string }, socket: Socket, createId: () => string): void {
  // A reset connection has no client any more. One that already has an answer must not get a second.
  if (error.code === 'ECONNRESET' || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy()
    return
  }
  const shown = describe(error.code)
  const body = JSON.stringify({ error: toErrorMembers(shown) })
  const headers = {
    ...toErrorHeaders(shown),
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    'x-request-id': createId(),
    connection: 'close',
  }
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${shown.status} ${STATUS_CODES[shown.status]}\r\n${head.join('')}\r\n${body}`)
}

function describe(code: string): ApiError {
  if (code === 'HPE_HEADER_OVERFLOW') return new ApiError('headers_too_large', 'the headers are too large')
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new ApiError('request_timeout', 'the headers did not arrive in time')
  }
  return new ApiError('invalid_request', 'this is not a valid HTTP/1.1 request')
}
