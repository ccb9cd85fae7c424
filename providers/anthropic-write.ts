import type { JsonObject } from '../lib/json.ts'
import { findSource, keepSourcesAt, stringifyJson } from '../lib/json-source.ts'
import { editMembers, listMembers } from '../lib/json-text.ts'
import { type MessagesOptions, type MessagesRequest, toMessagesRequest } from './anthropic-request.ts'

/** Nested values of a chat that go to the Messages API unchanged. */
const PASSED_ON = [
  ['tools', '*'],
  ['tools', '*', 'function', 'parameters'],
  ['response_format', 'json_schema', 'schema'],
  ['output_config', 'format'],
]

/**
 * Writes a chat as the text of a Messages request. Members, tools and schemas that the mapping leaves alone keep the client's own text.
 *
 * @throws UnmappableError for members that would be lost
 */
export function writeMessages(
  body: JsonObject,
  options: MessagesOptions,
): Pick<MessagesRequest, 'dropped' | 'format'> & { text: string } {
  for (const path of PASSED_ON) keepSourcesAt(body, path)
  const { body: mapped, ...rest } = toMessagesRequest(body, options)
  const text = stringifyJson(mapped)
  const source = findSource(body)
  if (source === undefined) return { text, ...rest }
  const edits: Record<string, string> = {}
  for (const { name, valueStart, valueEnd } of listMembers(source)) {
    if (Object.hasOwn(mapped, name) && mapped[name] === body[name]) {
      edits[name] = source.slice(valueStart, valueEnd)
    }
  }
  return { text: editMembers(text, edits), ...rest }
}
