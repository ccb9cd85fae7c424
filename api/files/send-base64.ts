import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { Files } from '../../files/files.ts'
import type { JsonObject } from '../../lib/json.ts'
import { stringifyJson } from '../../lib/json-source.ts'
import { notFound } from '../errors.ts'

/** Placeholder for the content of a file in an object to send. It contains a random UUID, so nobody else can write it. */
const MARK = `content:${randomUUID()}:`
/** After a mark: the file id and its size in bytes. */
const CONTENT = /([\w-]{1,128}):(\d{1,15})/y

/** Returns a placeholder that `sendWithContents` replaces by the file's content as base64. */
export function placeContent({ id, bytes }: { id: string; bytes: number }): string {
  return `${MARK}${id}:${bytes}`
}

/**
 * Sends an object as JSON whose members contain files, and reads these while sending: the process holds part of one file at a time. All
 * files are opened before the headers are sent, so a missing file is a `not_found` and an unavailable store a 503.
 */
export async function sendWithContents(
  reply: FastifyReply,
  value: JsonObject,
  tenant: string,
  { files }: { files: Pick<Files, 'read'> },
): Promise<FastifyReply> {
  const text = stringifyJson(value)
  const pieces: (string | AsyncIterable<Uint8Array>)[] = []
  let length = 0
  let from = 0
  const addText = (to: number) => {
    pieces.push(text.slice(from, to))
    length += Buffer.byteLength(text.slice(from, to))
  }
  for (const { start, end, id, bytes } of findMarks(text)) {
    const content = await files.read(tenant, id)
    if (content === null) throw notFound('file')
    addText(start)
    pieces.push(content)
    length += 4 * Math.ceil(bytes / 3)
    from = end
  }
  addText(text.length)
  return reply
    .type('application/json; charset=utf-8')
    .header('content-length', length)
    .send(Readable.from(write(pieces), { objectMode: false }))
}

function* findMarks(text: string): Generator<{ start: number; end: number; id: string; bytes: number }> {
  for (let start = text.indexOf(MARK); start !== -1; start = text.indexOf(MARK, start + 1)) {
    CONTENT.lastIndex = start + MARK.length
    const [whole = '', id = '', bytes] = CONTENT.exec(text) ?? []
    if (whole !== '') yield { start, end: start + MARK.length + whole.length, id, bytes: Number(bytes) }
  }
}

async function* write(pieces: readonly (string | AsyncIterable<Uint8Array>)[]): AsyncGenerator<string> {
  for (const piece of pieces) {
    if (typeof piece === 'string') yield piece
    else yield* encodeBase64(piece)
  }
}

/** Three bytes become four characters: a remainder goes with the next part. */
export async function* encodeBase64(content: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest = Buffer.alloc(0)
  for await (const part of content) {
    const bytes =
      rest.length === 0 ? Buffer.from(part.buffer, part.byteOffset, part.length) : Buffer.concat([rest, part])
    const whole = bytes.length - (bytes.length % 3)
    yield bytes.toString('base64', 0, whole)
    // The next part may reuse this memory.
    rest = Buffer.from(bytes.subarray(whole))
  }
  if (rest.length > 0) yield rest.toString('base64')
}
