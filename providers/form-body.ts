import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { CallType } from '../lib/call-type.ts'
import { listInputFiles } from '../lib/input-files.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { mediaTypeOfName } from '../lib/media-type.ts'
import type { OpenFile, RequestFile } from './provider.ts'

/** A request body as a form of known length. It is read while it is sent. */
export type FormBody = { contentType: string; bytes: number; open(): Readable }

/** A file that the request names no longer exists. */
export class FileGoneError extends Error {
  override readonly name = 'FileGoneError'
  readonly param: string

  constructor(member: string, id: string) {
    super(`${member}: the file ${id} no longer exists`)
    this.param = member
  }
}

type Part = { head: Buffer; file: RequestFile | null }

/**
 * Writes a body as the form that OpenAI's clients send: lists as `name[]`, objects as `name[member]`, and named files as their bytes.
 *
 * @param changes members to send with another value; undefined: left out
 * @throws FileGoneError
 */
export async function writeForm(
  type: CallType,
  body: JsonObject,
  changes: Readonly<Record<string, JsonValue | undefined>>,
  openFile: OpenFile,
): Promise<FormBody> {
  const boundary = `sluice-${randomUUID()}`
  const inputs = listInputFiles(type, body)
  const isInput = (name: string) => inputs.some(({ member }) => member === name)
  const fields = Object.entries({ ...body, ...changes }).filter(([name]) => !isInput(name))
  const parts: Part[] = fields
    .flatMap(([name, value]) => flatten(name, value))
    .map(([name, value]) => ({ head: writeHead(boundary, name, value), file: null }))
  for (const { member, ids } of inputs) {
    const name = Array.isArray(body[member]) ? `${member}[]` : member
    for (const id of ids) {
      const file = await openFile(id)
      if (file === null) throw new FileGoneError(member, id)
      parts.push({ head: writeFileHead(boundary, name, file), file })
    }
  }
  const end = Buffer.from(`--${boundary}--\r\n`)
  const bytes = parts.reduce(
    (sum, { head, file }) => sum + head.length + (file ? file.bytes + 2 : 0),
    end.length,
  )
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    bytes,
    open: () => Readable.from(stream(parts, end), { objectMode: false }),
  }
}

async function* stream(parts: readonly Part[], end: Buffer): AsyncGenerator<Uint8Array> {
  for (const { head, file } of parts) {
    yield head
    if (file === null) continue
    // The store may reuse the memory of a piece, so it is copied.
    for await (const piece of file.read()) yield Buffer.from(piece)
    yield Buffer.from('\r\n')
  }
  yield end
}

function flatten(name: string, value: JsonValue | undefined): [string, string][] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value.flatMap((one) => flatten(`${name}[]`, one))
  if (isJsonObject(value))
    return Object.entries(value).flatMap(([member, one]) => flatten(`${name}[${member}]`, one))
  return [[name, String(value)]]
}

function writeHead(boundary: string, name: string, value: string): Buffer {
  return Buffer.from(
    `--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(name)}"\r\n\r\n${value}\r\n`,
  )
}

function writeFileHead(boundary: string, name: string, { filename }: RequestFile): Buffer {
  return Buffer.from(
    `--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(name)}"; filename="${escapeName(filename)}"\r\n` +
      `Content-Type: ${mediaTypeOfName(filename)}\r\n\r\n`,
  )
}

/** The escaping of browsers (WHATWG HTML, multipart/form-data encoding algorithm). */
function escapeName(name: string): string {
  return name.replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}
