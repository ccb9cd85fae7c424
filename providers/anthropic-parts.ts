import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { UnmappableError } from './unmappable.ts'

const DATA_URL = /^data:([^;,]*)(?:;[^;,]+)*?(;base64)?,/i

/** The image types that Anthropic accepts, by their first bytes. */
const IMAGES = [
  [/^\xff\xd8\xff/, 'image/jpeg'],
  [/^\x89PNG/, 'image/png'],
  [/^GIF8/, 'image/gif'],
  [/^RIFF.{4}WEBP/s, 'image/webp'],
] as const
const IMAGE_TYPES = new Set<string>(IMAGES.map(([, type]) => type))
const OTHER_NAMES: Record<string, string> = {
  'image/jpg': 'image/jpeg',
  'image/pjpeg': 'image/jpeg',
  'image/x-png': 'image/png',
}

/**
 * Converts a content part of a message to a block of the Messages API. Text, images, PDF and plain text files have counterparts.
 * `cache_control` and other members stay. Part types unknown to OpenAI pass unchanged.
 *
 * @param path where the part stands in the request, for errors
 * @throws UnmappableError for audio, and for other kinds of files
 */
export function mapPart(part: JsonValue, path: string): JsonObject {
  if (!isJsonObject(part)) throw new UnmappableError(path, 'expected a content part')
  switch (part.type) {
    case 'image_url': {
      const { image_url: image, type: _type, ...rest } = part
      const url = isJsonObject(image) ? image.url : image
      if (typeof url !== 'string') throw new UnmappableError(`${path}.image_url.url`, 'expected a URL')
      return { ...rest, type: 'image', source: readImageSource(url, `${path}.image_url.url`) }
    }
    case 'file': {
      const { file, type: _type, ...rest } = part
      if (!isJsonObject(file)) throw new UnmappableError(`${path}.file`, 'expected a file')
      const title = typeof file.filename === 'string' ? { title: file.filename } : {}
      return { ...rest, type: 'document', source: readFileSource(file, `${path}.file`), ...title }
    }
    case 'refusal':
      return { type: 'text', text: part.refusal ?? '' }
    case 'input_audio':
      throw new UnmappableError(`${path}.type`, 'anthropic does not accept audio')
    default:
      return part
  }
}

/** Anthropic refuses an image whose declared type does not match its bytes, so the bytes decide. */
function readImageSource(url: string, path: string): JsonObject {
  if (!/^data:/i.test(url)) return { type: 'url', url }
  const match = DATA_URL.exec(url)
  if (!match) throw new UnmappableError(path, 'expected a data URL')
  const rest = url.slice(match[0].length)
  const data = match[2] ? removeBlanks(rest) : toBase64(rest, path)
  const named = (match[1] ?? '').toLowerCase()
  const head = Buffer.from(data.slice(0, 16), 'base64').toString('latin1')
  const found = IMAGES.find(([beginning]) => beginning.test(head))?.[1]
  const type = found ?? (Object.hasOwn(OTHER_NAMES, named) ? OTHER_NAMES[named]! : named)
  if (!IMAGE_TYPES.has(type)) throw new UnmappableError(path, 'anthropic accepts JPEG, PNG, GIF and WebP')
  return { type: 'base64', media_type: type, data }
}

/** `replaceAll` takes 80 ns for each blank, and base64 may have a blank after every character. */
function removeBlanks(text: string): string {
  if (!/\s/.test(text)) return text
  const bytes = Buffer.from(text)
  let length = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!
    const isBlank = byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)
    if (!isBlank) bytes[length++] = byte
  }
  return bytes.toString('utf8', 0, length)
}

function toBase64(text: string, path: string): string {
  try {
    return Buffer.from(decodeURIComponent(text), 'latin1').toString('base64')
  } catch {
    throw new UnmappableError(path, 'expected a data URL in base64')
  }
}

function readFileSource(file: JsonObject, path: string): JsonObject {
  if (typeof file.file_id === 'string') return { type: 'file', file_id: file.file_id }
  const url = typeof file.file_data === 'string' ? file.file_data : ''
  const match = DATA_URL.exec(url)
  const data = match ? url.slice(match[0].length) : ''
  const isPdf = match?.[1] === 'application/pdf' && match[2] !== undefined
  if (isPdf) return { type: 'base64', media_type: 'application/pdf', data }
  if (match?.[1] === 'text/plain' && match[2] !== undefined) {
    return { type: 'text', media_type: 'text/plain', data: Buffer.from(data, 'base64').toString('utf8') }
  }
  throw new UnmappableError(
    `${path}.file_data`,
    'anthropic accepts PDF and plain text, as data URLs in base64',
  )
}
