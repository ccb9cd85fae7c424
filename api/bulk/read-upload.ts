import type { Readable } from 'node:stream'
import { ApiError } from '../errors.ts'

/** Bytes that must arrive within each idle timeout: a trickling upload holds a connection as long as a silent one. */
const MIN_BYTES = 1024

export type ReadUploadOptions = {
  /** Longest wait for the next `MIN_BYTES`, ms. */
  idleTimeout: number
  /** Longest upload in total, ms. */
  timeout: number
  now: () => number
}

type State = 'open' | 'ended' | 'broken'

/**
 * Yields the bytes of an upload, no faster than they are consumed. When reading stops early, the rest is read and discarded: closing the
 * stream would close the connection before its answer, and leaving it would block the next request. Throws `request_timeout`, or
 * `invalid_request` where the client disconnected.
 */
export async function* readUpload(stream: Readable, options: ReadUploadOptions): AsyncGenerator<Buffer> {
  const deadline = options.now() + options.timeout
  const queue: Buffer[] = []
  let state = (stream.destroyed ? 'broken' : 'open') as State
  let wake: (() => void) | null = null
  let wanted = MIN_BYTES
  let patience = options.idleTimeout

  function change(to: State) {
    if (state === 'open') state = to
    wake?.()
  }
  const onData = (chunk: Buffer) => {
    queue.push(chunk)
    stream.pause()
    change('open')
  }
  const onEnd = () => change('ended')
  const onBreak = () => change('broken')

  // The error listener stays: a connection that breaks later must not end the process.
  stream.on('data', onData).on('end', onEnd).on('error', onBreak).on('close', onBreak)
  try {
    for (;;) {
      const chunk = queue.shift()
      if (chunk !== undefined) {
        wanted -= chunk.length
        if (wanted <= 0) {
          wanted = MIN_BYTES
          patience = options.idleTimeout
        }
        yield chunk
        continue
      }
      if (state === 'ended') return
      if (state === 'broken') throw new ApiError('invalid_request', 'the connection closed during the upload')
      const startedAt = options.now()
      await sleepUntilWoken(Math.min(patience, deadline - startedAt))
      patience -= options.now() - startedAt
    }
  } finally {
    stream.off('data', onData).off('end', onEnd).off('close', onBreak)
    stream.resume()
  }

  function sleepUntilWoken(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new ApiError('request_timeout', 'the upload came too slowly')),
        ms,
      )
      wake = () => {
        clearTimeout(timer)
        wake = null
        resolve()
      }
      stream.resume()
    })
  }
}
