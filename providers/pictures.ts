import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { sniffMediaType } from '../lib/media-type.ts'
import { makesPictures } from './endpoints.ts'
import type { MediaPart, ProviderRequest } from './provider.ts'

/** Models of OpenAI that answer with addresses unless they are asked for bytes, and that take `response_format` (OpenAI, "Create image"). */
const ANSWERS_ADDRESSES = /^dall-e-[23]\b/

/**
 * How an image request asks for its pictures upstream: always as bytes, because an address is good for an
 * hour only. Null: as the body says.
 */
export function askForBytes({
  type,
  model,
  body,
}: Pick<ProviderRequest, 'type' | 'model' | 'body'>): string | null {
  if (!makesPictures(type)) return null
  const asksForAddress = body.response_format === 'url'
  const leavesIt = body.response_format == null && ANSWERS_ADDRESSES.test(model)
  return asksForAddress || leavesIt ? 'b64_json' : null
}

/** Whether a client that sends this body to OpenAI gets addresses. */
export function answersAddresses(model: string, body: JsonObject): boolean {
  return body.response_format === 'url' || (body.response_format == null && ANSWERS_ADDRESSES.test(model))
}

/** What is wrong with the pictures of an answer, or null. */
export function findPicturesFault({ data }: JsonObject): string | null {
  if (!Array.isArray(data) || data.length === 0) return 'the answer has no picture'
  const isWhole = data.every((one) => isJsonObject(one) && (isText(one.b64_json) || isText(one.url)))
  return isWhole ? null : 'the answer has an entry without a picture'
}

function isText(value: JsonValue | undefined): value is string {
  return typeof value === 'string' && value !== ''
}

/** Takes the bytes of pictures out of an answer: the entries keep everything else, and say what the bytes were. */
export function takePictures(body: JsonObject): { body: JsonObject; media: MediaPart[] } {
  const media: MediaPart[] = []
  const data = (body.data as JsonObject[]).map((entry, at): JsonObject => {
    const { b64_json: text, ...others } = entry
    if (!isText(text)) return others
    const bytes = decodeBase64(text)
    const contentType = sniffMediaType(bytes) ?? statedType(body)
    media.push({ at, bytes, contentType })
    return { ...others, content_type: contentType, bytes: bytes.length }
  })
  return { body: { ...body, data }, media }
}

function statedType({ output_format: format }: JsonObject): string {
  return typeof format === 'string' && /^[a-z]{2,8}$/.test(format) ? `image/${format}` : 'image/png'
}

/** Some servers send data URLs. */
export function decodeBase64(text: string): Buffer {
  const from = text.startsWith('data:') ? text.indexOf(',') + 1 : 0
  return Buffer.from(from === 0 ? text : text.slice(from), 'base64')
}
