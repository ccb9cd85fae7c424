import type { Readable } from 'node:stream'
import type { JsonExcess, JsonScanner } from '../lib/scan-json.ts'
import { ApiError } from './errors.ts'
import { refuseExcess } from './json-bounds.ts'

export type ReadBodyOptions = {
  /** Bytes. */
  limit: number
  /** Timeout for the whole body, ms. */
  timeout: number
  /** The `content-length`, if it was sent: a body whose declared length is too large is not kept. */
  declared?: string
  /** Scans the body while it arrives: one that exceeds its bounds is not kept. */
  scanner?: JsonScanner
}

/**
 * Reads a whole body. One that is too large is read and discarded, as long as time allows, before it is refused: closing the connection
 * while the client sends would reset it, and the client would never see the answer.
 *
 * Throws `payload_too_large`, `request_timeout`, `invalid_request` if the client disconnected, and the error of `refuseExcess`.
 */
export function readBody(stream: Readable, options: ReadBodyOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = []
    let size = 0
    let excess: JsonExcess | null = null
    const declaredTooLarge = Number(options.declared ?? 0) > options.limit
    const isTooLarge = () => declaredTooLarge || size > options.limit
    const timer = setTimeout(() => {
      finish(
        isTooLarge()
          ? tooLarge(options.limit)
          : new ApiError('request_timeout', `the body did not arrive within ${options.timeout / 1000} s`),
      )
    }, options.timeout)

    function onData(chunk: Buffer) {
      size += chunk.length
      excess ??= options.scanner?.push(chunk) ?? null
      if (excess !== null || isTooLarge()) chunks = []
      else chunks.push(chunk)
    }
    function onEnd() {
      if (isTooLarge()) finish(tooLarge(options.limit))
      else finish(excess === null ? null : refuseExcess(excess, 'body'))
    }
    function onBreak() {
      finish(new ApiError('invalid_request', 'the connection closed before the body was complete'))
    }
    function finish(error: ApiError | null) {
      clearTimeout(timer)
      stream.off('data', onData).off('end', onEnd).off('close', onBreak)
      if (error === null) resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks))
      else reject(error)
    }

    // The error listener stays: a connection that breaks later must not end the process.
    stream.on('data', onData).on('end', onEnd).on('error', onBreak).on('close', onBreak)
  })
}

function tooLarge(limit: number): ApiError {
  return new ApiError('payload_too_large', `the body is larger than ${limit} bytes`)
}
