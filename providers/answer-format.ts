import { transformJSONSchema } from '@anthropic-ai/sdk/lib/transform-json-schema'
import { type Schema, Validator } from '@cfworker/json-schema'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { UnmappableError } from './unmappable.ts'

/** A `response_format` that the provider serves in part: what is sent for it, and how the answer is held against it. */
export type AnswerFormat = {
  /** For `output_config.format`; null: there is none. */
  format: JsonObject | null
  /** Said to the model beside the system prompt; null: nothing. */
  instruction: string | null
  /** The text as JSON without what stands around it, or why it does not meet the format. Names no content. */
  check(text: string): { text: string } | { fault: string }
}

const INSTRUCTION = 'Answer with one JSON object and nothing else: no text before or after it, no code fence.'

/** A pattern could take for ever on a long text, and the provider was told of it in words. */
const UNCHECKED = new Set(['pattern', 'patternProperties', 'format'])

/**
 * Reads a chat's `response_format` for Anthropic. A schema goes out as far as Claude's grammar knows it, the rest of it in
 * its descriptions (as Anthropic's own SDK does), and the answer is checked against all of it. `json_object` is an
 * instruction and a check.
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
  // What the grammar guarantees needs no second look.
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
        fault: `the answer does not meet ${last?.keyword ?? 'the schema'} of ${last?.keywordLocation ?? '#'}`,
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

/** Models put JSON between fences although they are asked not to. */
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
