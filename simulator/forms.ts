import { createHash } from 'node:crypto'
import { estimateSeconds } from '../lib/audio-length.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'

const NUMBERS = new Set(['n', 'temperature', 'partial_images'])

/**
 * Converts a form to JSON text. Each file is replaced by its name, size in bytes, digest, and its length as sound in seconds. Null: the
 * body is not a form.
 */
export async function readForm(bytes: Buffer, contentType: string): Promise<string | null> {
  const form = await new Response(new Uint8Array(bytes), { headers: { 'content-type': contentType } })
    .formData()
    .catch(() => null)
  if (form === null) return null
  const body: JsonObject = {}
  for (const [name, value] of form) {
    const member = name.replace(/\[\]$/, '')
    const read = typeof value === 'string' ? readField(member, value) : await describeFile(value)
    const known = body[member]
    if (name !== member) body[member] = [...(Array.isArray(known) ? known : []), read]
    else body[member] = read
  }
  return JSON.stringify(body)
}

function readField(name: string, value: string): JsonValue {
  if (name === 'stream') return value === 'true'
  return NUMBERS.has(name) ? Number(value) : value
}

async function describeFile(file: File): Promise<JsonObject> {
  const content = Buffer.from(await file.arrayBuffer())
  return {
    name: file.name,
    type: file.type,
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    seconds: estimateSeconds(content.subarray(0, 4096), content.length),
  }
}
