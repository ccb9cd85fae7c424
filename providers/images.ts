import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { sniffMediaType } from '../lib/media-type.ts'
import { makesImages } from './endpoints.ts'
import type { MediaPart, ProviderRequest } from './provider.ts'

/** OpenAI's models that return URLs by default and accept `response_format` (OpenAI, "Create image"). */
const ANSWERS_ADDRESSES = /^dall-e-[23]\b/

/** The `response_format` to send for an image request: always bytes, because a URL expires after an hour. Null: leave the body as it is. */
export function chooseResponseFormat({
  type,
  model,
  body,
}: Pick<ProviderRequest, 'type' | 'model' | 'body'>): string | null {
  if (!makesImages(type)) return null
  const asksForAddress = body.response_format === 'url'
  const leavesIt = body.response_format == null && ANSWERS_ADDRESSES.test(model)
  return asksForAddress || leavesIt ? 'b64_json' : null
}

/** Whether OpenAI returns URLs for this body. */
export function answersUrls(model: string, body: JsonObject): boolean {
  return body.response_format === 'url' || (body.response_format == null && ANSWERS_ADDRESSES.test(model))
}

/** What is wrong with the images of an answer, or null. */
export function findImagesFault({ data }: JsonObject): string | null {
  if (!Array.isArray(data) || data.length === 0) return 'the answer has no image'
  const isWhole = data.every((one) => isJsonObject(one) && (isText(one.b64_json) || isText(one.url)))
  return isWhole ? null : 'the answer has an entry without an image'
}

function isText(value: JsonValue | undefined): value is string {
  return typeof value === 'string' && value !== ''
}

/** Moves the bytes of images out of an answer. The entries keep their other members and get the type and size of the bytes. */
export function extractImages(body: JsonObject): { body: JsonObject; media: MediaPart[] } {
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
