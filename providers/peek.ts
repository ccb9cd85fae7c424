import type { Readable } from 'node:stream'

/** Blanks allowed before the first other byte. An answer never has more. */
const MAX_BLANKS = 65_536

const EMPTY = Buffer.alloc(0)

/** The byte order mark that some servers put before UTF-8. */
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf]

/** Returns the first byte of a stream, which stays in it; null when the stream is empty. @throws the stream's error */
export async function peekByte(stream: Readable): Promise<number | null> {
  const chunk = await readSome(stream)
  if (chunk === null) return null
  stream.unshift(chunk)
  return chunk[0]!
}

/**
 * Returns the first character of a text that is not a blank; null when the stream ends before one. Nothing is consumed from the stream.
 *
 * @throws the stream's error
 */
export async function peekText(stream: Readable): Promise<string | null> {
  let seen: Buffer = EMPTY
  for (;;) {
    const chunk = await readSome(stream)
    if (chunk !== null) seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
    let at = BYTE_ORDER_MARK.every((byte, index) => seen[index] === byte) ? BYTE_ORDER_MARK.length : 0
    while (at < seen.length && (seen[at] === 0x20 || (seen[at]! >= 0x09 && seen[at]! <= 0x0d))) at += 1
    // The byte order mark may be split between two chunks.
    const isOpen = seen.length < BYTE_ORDER_MARK.length && seen.length > 0 && BYTE_ORDER_MARK[0] === seen[0]
    if (chunk !== null && (isOpen || at === seen.length) && seen.length < MAX_BLANKS) continue
    if (seen.length > 0) stream.unshift(seen)
    return at < seen.length ? String.fromCharCode(seen[at]!) : null
  }
}

/** Waits for data and returns what the stream has; null at its end. */
async function readSome(stream: Readable): Promise<Buffer | null> {
  for (;;) {
    const chunk = stream.read() as Buffer | null
    if (chunk !== null) return chunk
    if (stream.readableEnded || stream.destroyed) return null
    await new Promise<void>((resolve, reject) => {
      function settle(error?: Error): void {
        stream.off('readable', settle).off('end', settle).off('close', settle).off('error', settle)
        if (error instanceof Error) reject(error)
        else resolve()
      }
      stream.on('readable', settle).on('end', settle).on('close', settle).on('error', settle)
    })
  }
}
