import { crc32, deflateSync } from 'node:zlib'
import type { JsonObject } from '../lib/json.ts'
import type { AnswerPlan } from './answers.ts'
import type { StreamPiece } from './events.ts'
import { hashText } from './random.ts'

/** The edge of every picture, in pixels; the requested size does not matter. */
const EDGE = 16
const MOST_PICTURES = 10

/** Builds OpenAI's answer with pictures of one colour, which depends on the prompt and the index: as bytes, or as URLs if the body asks for them. */
export function buildPictures(plan: AnswerPlan, body: JsonObject): JsonObject {
  const count = typeof body.n === 'number' ? Math.max(1, Math.min(MOST_PICTURES, body.n)) : 1
  const data = Array.from({ length: count }, (_, at): JsonObject => {
    const picture = paint(`${plan.text} ${at}`)
    if (body.response_format === 'url') return { url: `data:image/png;base64,${picture.toString('base64')}` }
    return { b64_json: picture.toString('base64') }
  })
  return {
    created: plan.created,
    background: 'opaque',
    output_format: 'png',
    quality: typeof body.quality === 'string' ? body.quality : 'low',
    size: typeof body.size === 'string' ? body.size : '1024x1024',
    data,
    usage: pictureUsage(plan, count),
  }
}

/** Lists the same answer as events: `partial_images` previews first, then the pictures. */
export function listPictureEvents(plan: AnswerPlan, body: JsonObject): StreamPiece[] {
  const kind = plan.type === 'image_edit' ? 'image_edit' : 'image_generation'
  const { data, usage, created, ...members } = buildPictures(plan, { ...body, response_format: 'b64_json' })
  const head = { created_at: created, ...members }
  const count = typeof body.partial_images === 'number' ? Math.min(3, body.partial_images) : 0
  const partial = Array.from({ length: count }, (_, at) => ({
    type: `${kind}.partial_image`,
    b64_json: paint(`${plan.text} partial ${at}`).toString('base64'),
    partial_image_index: at,
    ...head,
  }))
  const completed = (data as JsonObject[]).map((picture) => ({
    type: `${kind}.completed`,
    ...picture,
    ...head,
    usage,
  }))
  return [...partial, ...completed].map((event) => ({
    text: `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
    tokens: PICTURE_TOKENS / 4,
  }))
}

function pictureUsage({ inputTokens }: AnswerPlan, count: number): JsonObject {
  const written = PICTURE_TOKENS * count
  return {
    input_tokens: inputTokens,
    input_tokens_details: { text_tokens: inputTokens, image_tokens: 0 },
    output_tokens: written,
    total_tokens: inputTokens + written,
  }
}

/** The tokens of a picture of 1024×1024 in low quality (OpenAI, "Image generation", "Cost and latency"). */
const PICTURE_TOKENS = 272

/** A valid PNG of one colour. */
function paint(seed: string): Buffer {
  const colour = hashText(seed)
  const row = Buffer.alloc(1 + EDGE * 3)
  for (let at = 0; at < EDGE; at++) row.writeUIntBE(colour & 0xffffff, 1 + at * 3, 3)
  const head = Buffer.alloc(13)
  head.writeUInt32BE(EDGE, 0)
  head.writeUInt32BE(EDGE, 4)
  head.set([8, 2, 0, 0, 0], 8) // eight bits, colours, no interlacing
  const pixels = deflateSync(Buffer.concat(Array.from({ length: EDGE }, () => row)))
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
  return Buffer.concat([
    signature,
    chunk('IHDR', head),
    chunk('IDAT', pixels),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type: string, content: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), content])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  const check = Buffer.alloc(4)
  check.writeUInt32BE(crc32(named))
  return Buffer.concat([length, named, check])
}
