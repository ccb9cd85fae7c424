import { isJsonObject, type JsonValue } from '../../lib/json.ts'
import { parseWithSource, stringifyJson } from '../../lib/json-source.ts'
import { findMember } from '../../lib/json-text.ts'
import type { LineResult, OutgoingLine } from './batch-api.ts'

/** Writes the lines of an input file in OpenAI's format. */
export async function* writeLines(
  lines: AsyncIterable<OutgoingLine>,
  url: string,
): AsyncGenerator<Uint8Array> {
  const head = `"method":"POST","url":${JSON.stringify(url)},"body":`
  for await (const { customId, body } of lines) {
    yield Buffer.from(`{"custom_id":${JSON.stringify(customId)},${head}${body}}\n`)
  }
}

/** Most characters of a provider's error code. */
const MOST_CODE = 100

/**
 * Reads one line of a result file. A line without a response, with status 0, or with an error of its own was not processed. Null: the line
 * cannot be read and counts as missing.
 */
export function readResultLine(text: string): LineResult | null {
  let line: JsonValue
  try {
    line = parseWithSource(text)
  } catch {
    return null
  }
  if (!isJsonObject(line)) return null
  const { custom_id: customId, response, error } = line
  const undone = (code: string): LineResult => ({ customId, kind: 'undone', code })
  if (!isJsonObject(response)) {
    const code =
      isJsonObject(error) && typeof error.code === 'string' ? error.code.slice(0, MOST_CODE) : 'no_response'
    return undone(code)
  }
  const { status_code: stated, body } = response
  // Some servers send it as a text.
  const status = typeof stated === 'string' && /^[1-5]\d\d$/.test(stated) ? Number(stated) : stated
  if (typeof status !== 'number' || status < 100) return undone('no_status')
  const source = findMember(text, 'response')
  const written = source === undefined ? undefined : findMember(source, 'body')
  return { customId, kind: 'answer', status, body: written ?? stringifyJson(body ?? null) }
}
