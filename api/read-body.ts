import type { Readable } from 'node:stream'
import type { JsonExcess, JsonScanner } from '../lib/scan-json.ts'
import { ApiError } from './errors.ts'
import { refuseExcess } from './json-bounds.ts'

export type ReadBodyOptions = {
  /** Bytes. */
  limit: number
  /** Milliseconds for the whole body. */
  timeout: number
  /** The `content-length`, where it was sent: a body that says it is too large is not even kept. */
  declared?: string
  /** Looks at the body as it comes: one with more structure than it allows is not kept either. */
  scanner?: JsonScanner
}

/**
 * Reads a whole body. One that is too large is still taken in and thrown away, as long as time allows, before it is
 * refused: closing on a client that is sending resets the connection, and the client never sees the answer.
 *
 * Throws `payload_too_large`, `request_timeout`, `invalid_request` where the client went away, and what `refuseExcess` makes of an excess.
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
