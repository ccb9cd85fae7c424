import { pipeline, type Readable, type Transform } from 'node:stream'
import {
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib'
import { peekByte } from './peek.ts'

/** Codings on top of one another; more are a mistake or an attack. */
const MAX_CODINGS = 3

/**
 * A body as it was before it was coded for the way (RFC 9110 §8.4). We ask for none, but some servers and proxies do so
 * all the same. It is decoded as it is read, so that a bound on what is read bounds what is decoded.
 *
 * @param coding the header `content-encoding`; unknown ones are left as they are
 */
export async function decodeContent(stream: Readable, coding: string | null): Promise<Readable> {
  const codings = (coding ?? '')
    .split(',')
    .map((one) => one.trim().toLowerCase())
    .filter((one) => one !== '' && one !== 'identity')
  if (codings.length > MAX_CODINGS) return stream
  let decoded = stream
  for (const one of codings.reverse()) {
    const decoder = one === 'deflate' ? await createDeflateDecoder(decoded) : createDecoder(one)
    // What breaks the source breaks its reader, who hears of it there.
    if (decoder !== null) decoded = pipeline(decoded, decoder, () => {})
  }
  return decoded
}

/** `deflate` is zlib's form by the RFC, and the bare one by the habit of some servers; the first byte tells them apart. */
async function createDeflateDecoder(stream: Readable): Promise<Transform> {
  const first = await peekByte(stream)
  return first === null || (first & 0x0f) === 8 ? createInflate() : createInflateRaw()
}

function createDecoder(coding: string): Transform | null {
  switch (coding) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip()
    case 'br':
      return createBrotliDecompress()
    case 'zstd':
      return createZstdDecompress()
    default:
      return null
  }
}
