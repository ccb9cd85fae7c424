import { transformJSONSchema } from '@anthropic-ai/sdk/lib/transform-json-schema'
import { type Schema, Validator } from '@cfworker/json-schema'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { UnmappableError } from './unmappable.ts'

/** A `response_format` that the provider supports in part: what is sent for it, and how the answer is checked against it. */
export type AnswerFormat = {
  /** For `output_config.format`; null: nothing is sent. */
  format: JsonObject | null
  /** Added to the system prompt; null: nothing. */
  instruction: string | null
  /** Returns the JSON text without code fences, or why it does not match the format. The reason quotes no content. */
  check(text: string): { text: string } | { fault: string }
}

const INSTRUCTION = 'Answer with one JSON object and nothing else: no text before or after it, no code fence.'

/** Not checked: a pattern can take exponential time on a long text. The provider sees them in the schema's descriptions. */
const UNCHECKED = new Set(['pattern', 'patternProperties', 'format'])

/**
 * Reads a chat's `response_format` for Anthropic. The part of a schema that Claude's grammar supports is sent as the schema, the rest in
 * its descriptions (as Anthropic's own SDK does). The answer is checked against the whole schema. `json_object` becomes an instruction and
 * a check.
 *
 * @throws UnmappableError for formats and schemas that cannot be sent
 */
export function readAnswerFormat(given: JsonValue | undefined): AnswerFormat | null {
  if (!isJsonObject(given) || given.type === 'text') return null
  if (given.type === 'json_object') {
    return {
      format: null,
      instruction: INSTRUCTION,
      check: (text) => {
        const bare = unfence(text)
        return isJsonObject(parse(bare)) ? { text: bare } : { fault: 'the answer is not a JSON object' }
      },
    }
  }
  const schema = isJsonObject(given.json_schema) ? given.json_schema.schema : undefined
  if (given.type !== 'json_schema' || !isJsonObject(schema)) {
    throw new UnmappableError(
      'response_format',
      'anthropic takes json_schema with a schema, json_object, or text',
    )
  }
  const sent = transform(schema)
  // The grammar guarantees the whole schema: no check is needed.
  if (JSON.stringify(sent) === JSON.stringify(schema))
    return { format: toFormat(schema), instruction: null, check: (text) => ({ text }) }
  const validator = new Validator(withoutUnchecked(schema) as Schema, '2020-12')
  return {
    format: toFormat(sent),
    instruction: null,
    check(text) {
      const value = parse(text)
      if (value === undefined) return { fault: 'the answer is not JSON' }
      const { valid, errors } = validator.validate(value)
      if (valid) return { text }
      const last = errors.at(-1)
      return {
        fault: `the answer does not match ${last?.keyword ?? 'the schema'} of ${last?.keywordLocation ?? '#'}`,
      }
    },
  }
}

function toFormat(schema: JsonObject): JsonObject {
  return { type: 'json_schema', schema }
}

function transform(schema: JsonObject): JsonObject {
  try {
    return transformJSONSchema(schema) as JsonObject
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'not a JSON schema'
    throw new UnmappableError('response_format.json_schema.schema', reason)
  }
}

function withoutUnchecked(schema: JsonValue): JsonValue {
  if (Array.isArray(schema)) return schema.map(withoutUnchecked)
  if (!isJsonObject(schema)) return schema
  const kept = Object.entries(schema).filter(
    ([name, value]) => !UNCHECKED.has(name) || typeof value !== 'string',
  )
  return Object.fromEntries(kept.map(([name, value]) => [name, withoutUnchecked(value ?? null)]))
}

/** Models put JSON between code fences although they are told not to. */
function unfence(text: string): string {
  const trimmed = text.trim()
  if (!trimmed.startsWith('```') || !trimmed.endsWith('```') || trimmed.length < 6) return trimmed
  const start = trimmed.indexOf('\n')
  return start < 0 ? trimmed : trimmed.slice(start + 1, -3).trim()
}

function parse(text: string): JsonValue | undefined {
  try {
    return JSON.parse(text) as JsonValue
  } catch {
    return undefined
  }
}
