import type { Readable } from 'node:stream'
import { ApiError } from '../errors.ts'

/** Bytes that must come within an idle time-out: one that drips holds a connection as surely as one that is silent. */
const LEAST_BYTES = 1024

export type ReadUploadOptions = {
  /** Longest time, in ms, that somebody waits for the next `LEAST_BYTES`. */
  idleTimeout: number
  /** Longest upload altogether, in ms. */
  timeout: number
  now: () => number
}

type State = 'open' | 'ended' | 'broken'

/**
 * The bytes of an upload as they come, no faster than they are taken. When reading stops early the stream stays open and
 * flows away: closing it would close the answer's connection, and leaving it would block the next request.
 * Throws `request_timeout`, or `invalid_request` where the client went away.
 */
export async function* readUpload(stream: Readable, options: ReadUploadOptions): AsyncGenerator<Buffer> {
  const deadline = options.now() + options.timeout
  const queue: Buffer[] = []
  let state = (stream.destroyed ? 'broken' : 'open') as State
  let wake: (() => void) | null = null
  let wanted = LEAST_BYTES
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
          wanted = LEAST_BYTES
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
