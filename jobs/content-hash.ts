import canonicalize from 'canonicalize'
import { canonicalizeText, hashText } from '../lib/canonical-json.ts'
import { normalizeInputs } from '../lib/embedding-input.ts'
import { listInputFiles } from '../lib/input-files.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import { listMembers } from '../lib/json-text.ts'
import type { JobType } from './job.ts'
import { isPresentation } from './presentation.ts'

/**
 * Members whose values are schemas, or lists of tools: models read them from top to bottom, and a structured answer has its
 * members in the order of its schema. Everywhere else the order of members means nothing.
 */
const ORDERED = new Set([
  'tools',
  'functions',
  'function_declarations',
  'functionDeclarations',
  'schema',
  'schema_definition',
  'input_schema',
  'output_schema',
  'inputSchema',
  'parameters',
  'parametersJsonSchema',
  'responseSchema',
  'response_schema',
  'responseJsonSchema',
  'response_json_schema',
  'guided_json',
  // vLLM: `structured_outputs: { json: … }`
  'structured_outputs',
])

/** As `JSON.stringify` writes one; a few texts that look like it hash as well that way. */
const LONE_SURROGATE = /\\ud[89a-f]/

const keepsOrder = (name: string) => ORDERED.has(name)

/** SHA-256 (hex) over the RFC 8785 form of a value: equal for equal JSON, in any order of members. */
export function hashCanonical(value: JsonValue): string {
  // A lone surrogate has no canonical form of RFC 8785: escaped, as JSON writes it, it is as good as any other text.
  const escaped = JSON.stringify(value) as string | undefined
  if (escaped !== undefined && LONE_SURROGATE.test(escaped))
    return hashText(canonicalizeText(escaped, () => false))
  const text = canonicalize(value)
  if (text === undefined) throw new TypeError('only JSON values can be hashed')
  return hashText(text)
}

/**
 * Equal for two jobs that ask for the same answer: type, model and body, without the members that only say how the answer
 * is delivered. `inputs` has the digests of the files that the body names. One input of an embedding job is the same by itself and alone in a list. Read from the text of the body:
 * order counts in schemas and tools, and numbers that a double cannot hold stay distinct.
 */
export function contentHash(
  type: JobType,
  model: string,
  body: JsonObject,
  inputs: ReadonlyMap<string, string> = new Map(),
): string {
  const members = readContent(type, body)
  // Files count by what they hold.
  for (const { member, ids } of listInputFiles(type, body)) {
    members.set(member, JSON.stringify(ids.map((id) => inputs.get(id) ?? id)))
  }
  if (type === 'embedding') {
    const [input, ...others] = normalizeInputs(body) ?? []
    if (input !== undefined && others.length === 0) members.set('input', JSON.stringify(input))
  }
  return hashContent(type, model, members)
}

/** The content hash of each of some inputs, as an embedding job of its own with that input alone. */
export function hashInputsOf(model: string, body: JsonObject, inputs: readonly JsonValue[]): string[] {
  const members = readContent('embedding', body)
  members.set('model', JSON.stringify(model))
  return inputs.map((input) => hashContent('embedding', model, members.set('input', JSON.stringify(input))))
}

/** The canonical texts of the members that an answer depends on. */
function readContent(type: JobType, body: JsonObject): Map<string, string> {
  const text = sourceOf(body)
  const members = new Map<string, string>()
  for (const { name, valueStart } of listMembers(text)) {
    if (isPresentation(type, name, body)) continue
    const from = { at: valueStart, isOrdered: keepsOrder(name) }
    members.set(name, canonicalizeText(text, keepsOrder, from))
  }
  return members
}

function hashContent(type: JobType, model: string, members: ReadonlyMap<string, string>): string {
  const names = [...members.keys()].sort()
  const content = names.map((name) => `${JSON.stringify(name)}:${members.get(name)}`).join(',')
  return hashText(`{"body":{${content}},"model":${JSON.stringify(model)},"type":"${type}"}`)
}
