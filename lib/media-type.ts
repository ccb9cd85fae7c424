/** The first bytes of the image and audio types that models accept and return. */
const SIGNATURES: { type: string; at: number; bytes: readonly number[] | string }[] = [
  { type: 'image/png', at: 0, bytes: '\x89PNG\r\n\x1a\n' },
  { type: 'image/jpeg', at: 0, bytes: [0xff, 0xd8, 0xff] },
  { type: 'image/gif', at: 0, bytes: 'GIF8' },
  { type: 'image/webp', at: 8, bytes: 'WEBP' },
  { type: 'audio/wav', at: 8, bytes: 'WAVE' },
  { type: 'audio/mpeg', at: 0, bytes: 'ID3' },
  { type: 'audio/flac', at: 0, bytes: 'fLaC' },
  { type: 'audio/ogg', at: 0, bytes: 'OggS' },
  { type: 'audio/webm', at: 0, bytes: [0x1a, 0x45, 0xdf, 0xa3] },
  { type: 'audio/mp4', at: 4, bytes: 'ftyp' },
]

/** The file name extensions of each type. The first one is used for new names. */
const ENDINGS: Record<string, readonly string[]> = {
  'image/png': ['png'],
  'image/jpeg': ['jpg', 'jpeg'],
  'image/gif': ['gif'],
  'image/webp': ['webp'],
  'audio/wav': ['wav'],
  'audio/mpeg': ['mp3', 'mpga', 'mpeg'],
  'audio/flac': ['flac'],
  'audio/ogg': ['ogg', 'oga', 'opus'],
  'audio/webm': ['webm'],
  'audio/mp4': ['m4a', 'mp4'],
  'audio/aac': ['aac'],
  'audio/pcm': ['pcm'],
}

const UNKNOWN = 'application/octet-stream'

/** The media type of bytes; null if their beginning does not show it. */
export function sniffMediaType(bytes: Uint8Array): string | null {
  const found = SIGNATURES.find(({ at, bytes: signature }) => {
    const wanted = typeof signature === 'string' ? [...Buffer.from(signature, 'latin1')] : signature
    return wanted.every((byte, index) => bytes[at + index] === byte)
  })
  if (found) return found.type
  // Frames without a header: eleven bits set, then the layer, which is 0 in AAC.
  if (bytes[0] !== 0xff || ((bytes[1] ?? 0) & 0xe0) !== 0xe0) return null
  return ((bytes[1] ?? 0) & 0x06) === 0 ? 'audio/aac' : 'audio/mpeg'
}

/** The file name extension of a type; `bin` for an unknown type. */
export function endingOf(mediaType: string): string {
  return ENDINGS[mediaType]?.[0] ?? 'bin'
}

/** The media type by a file name's extension; `application/octet-stream` for an unknown one. */
export function mediaTypeOfName(filename: string): string {
  const ending = /\.([a-z0-9]+)$/i.exec(filename)?.[1]?.toLowerCase()
  if (ending === undefined) return UNKNOWN
  return Object.entries(ENDINGS).find(([, endings]) => endings.includes(ending))?.[0] ?? UNKNOWN
}
