import { sniffMediaType } from './media-type.ts'

/** The beginning of a file that is enough to estimate its duration, in bytes. */
export const HEAD_BYTES = 4096

/** Bit rates of MPEG-1 and MPEG-2 Layer III in kbit/s, by the index in the frame header (ISO 11172-3, 13818-3). */
const MP3_KBITS = [
  [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
] as const

/**
 * Bytes per second if the header does not say: typical for speech. Rather low, because an estimate that is too long only waits a little,
 * and one that is too short exceeds the limit. The answer's own count corrects both.
 */
const BYTES_A_SECOND: Record<string, number> = {
  'audio/flac': 40_000,
  'audio/mpeg': 8000,
}
const OTHER_BYTES_A_SECOND = 4000

/** Duration of an audio file in seconds: exact for WAV, by the rate of the first frame for mp3, by size for other formats. */
export function estimateSeconds(head: Buffer, bytes: number): number {
  const type = sniffMediaType(head) ?? ''
  const known =
    type === 'audio/wav' ? readWav(head, bytes) : type === 'audio/mpeg' ? readMp3(head, bytes) : null
  const seconds = known ?? bytes / (BYTES_A_SECOND[type] ?? OTHER_BYTES_A_SECOND)
  return Math.max(0.001, Math.round(seconds * 1000) / 1000)
}

/** Reads the chunks `fmt ` and `data` (RIFF). A stream of unknown length says 0 or the maximum; then the file's size counts. */
function readWav(head: Buffer, bytes: number): number | null {
  let rate = 0
  for (let at = 12; at + 8 <= head.length; ) {
    const name = head.toString('latin1', at, at + 4)
    const size = head.readUInt32LE(at + 4)
    if (name === 'fmt ' && at + 20 <= head.length) rate = head.readUInt32LE(at + 16)
    if (name === 'data') return rate === 0 ? null : Math.min(size || bytes, bytes - at - 8) / rate
    at += 8 + size + (size % 2)
  }
  return rate === 0 ? null : bytes / rate
}

function readMp3(head: Buffer, bytes: number): number | null {
  // An ID3v2 tag at the beginning contains its own length, seven bits per byte.
  const hasTag = head.toString('latin1', 0, 3) === 'ID3'
  const tag = hasTag ? 10 + head.subarray(6, 10).reduce((sum, byte) => sum * 128 + (byte & 127), 0) : 0
  for (let at = tag; at + 4 <= head.length; at++) {
    if (head[at] !== 0xff || (head[at + 1]! & 0xe6) !== 0xe2) continue
    const kbits = MP3_KBITS[(head[at + 1]! & 0x18) === 0x18 ? 0 : 1][head[at + 2]! >> 4]
    if (kbits) return (bytes - at) / (kbits * 125)
  }
  return null
}
