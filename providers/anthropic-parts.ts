import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { UnmappableError } from './unmappable.ts'

const DATA_URL = /^data:([^;,]+)(?:;[^;,]+)*?(;base64)?,/

/**
 * A part of a message's content as a block of the Messages API. Text, pictures, PDF and plain text files have
 * counterparts; `cache_control` and other further members stay. Types that are not OpenAI's pass as they came.
 *
 * @param path where the part stands, for errors
 * @throws UnmappableError for sound, and for files of other kinds
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
      throw new UnmappableError(`${path}.type`, 'anthropic takes no sound')
    default:
      return part
  }
}

function readImageSource(url: string, path: string): JsonObject {
  if (!url.startsWith('data:')) return { type: 'url', url }
  const match = DATA_URL.exec(url)
  if (!match?.[2]) throw new UnmappableError(path, 'expected a data URL in base64')
  return { type: 'base64', media_type: match[1]!, data: url.slice(match[0].length) }
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
  throw new UnmappableError(`${path}.file_data`, 'anthropic takes PDF and plain text, as data URLs in base64')
}
