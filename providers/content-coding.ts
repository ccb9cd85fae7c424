import { pipeline, type Readable, type Transform } from 'node:stream'
import {
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib'
import { peekByte } from './peek.ts'

/** Limit on stacked codings. More are a mistake or an attack. */
const MAX_CODINGS = 3

/**
 * Decodes a body that was coded for transfer (RFC 9110 §8.4). We do not ask for a coding, but some servers and proxies use one anyway. The
 * body is decoded while it is read, so a bound on the bytes read also bounds the bytes decoded.
 *
 * @param coding the header `content-encoding`; unknown codings are left alone
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
    // An error of the source also breaks the decoder, and its reader gets it there.
    if (decoder !== null) decoded = pipeline(decoded, decoder, () => {})
  }
  return decoded
}

/** By the RFC `deflate` is zlib's format; some servers send raw deflate. The first byte tells them apart. */
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
