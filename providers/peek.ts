import type { Readable } from 'node:stream'

/** Blanks before the first byte that says something; more are no answer. */
const MAX_BLANKS = 65_536

const EMPTY = Buffer.alloc(0)

/** The mark that some servers put before UTF-8. */
const MARK = [0xef, 0xbb, 0xbf]

/** The first byte of a stream, which stays in it; null when it ends before one. @throws the stream's error */
export async function peekByte(stream: Readable): Promise<number | null> {
  const chunk = await readSome(stream)
  if (chunk === null) return null
  stream.unshift(chunk)
  return chunk[0]!
}

/**
 * The first byte of a text that is no blank, as a character; null when the stream ends before one. Nothing is taken
 * from the stream.
 *
 * @throws the stream's error
 */
export async function peekText(stream: Readable): Promise<string | null> {
  let seen: Buffer = EMPTY
  for (;;) {
    const chunk = await readSome(stream)
    if (chunk !== null) seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
    let at = MARK.every((byte, index) => seen[index] === byte) ? MARK.length : 0
    while (at < seen.length && (seen[at] === 0x20 || (seen[at]! >= 0x09 && seen[at]! <= 0x0d))) at += 1
    // The mark may be cut in two.
    const isOpen = seen.length < MARK.length && seen.length > 0 && MARK[0] === seen[0]
    if (chunk !== null && (isOpen || at === seen.length) && seen.length < MAX_BLANKS) continue
    if (seen.length > 0) stream.unshift(seen)
    return at < seen.length ? String.fromCharCode(seen[at]!) : null
  }
}

/** What is there of a stream, waiting for it; null at its end. */
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
