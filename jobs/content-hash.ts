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
 * Members whose order counts: their values are schemas or lists of tools. Models read them from top to bottom, and a
 * structured answer has its members in the order of its schema. Everywhere else the order of members means nothing.
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

/** A lone surrogate as `JSON.stringify` writes it. Some other texts look like it, and are hashed in the same way. */
const LONE_SURROGATE = /\\ud[89a-f]/

const keepsOrder = (name: string) => ORDERED.has(name)

/** SHA-256 (hex) of the RFC 8785 form of a value. JSON that differs only in the order of members has the same hash. */
export function hashCanonical(value: JsonValue): string {
  // RFC 8785 defines no form for a lone surrogate. Its escaped form is hashed like any other text.
  const escaped = JSON.stringify(value) as string | undefined
  if (escaped !== undefined && LONE_SURROGATE.test(escaped))
    return hashText(canonicalizeText(escaped, () => false))
  const text = canonicalize(value)
  if (text === undefined) throw new TypeError('only JSON values can be hashed')
  return hashText(text)
}

/** What an answer depends on. `inputs`: digests of the files that the body names, by id; absent: it names none. */
type Content = {
  type: JobType
  model: string
  body: JsonObject
  inputs?: ReadonlyMap<string, string> | undefined
}

/**
 * The hash that two jobs share if they ask for the same answer: it covers type, model and body, without the members
 * that only say how the answer is delivered. An embedding job has the same hash for one input as for a list of that one
 * input. The body is read from its text, because order counts in schemas and tools, and numbers that a double cannot
 * hold must stay distinct.
 */
export function contentHash({ type, model, body, inputs }: Content): string {
  const members = readContent(type, body)
  // Files are compared by their content.
  for (const { member, ids } of listInputFiles(type, body)) {
    members.set(member, JSON.stringify(ids.map((id) => inputs?.get(id) ?? id)))
  }
  if (type === 'embedding') {
    const [input, ...others] = normalizeInputs(body) ?? []
    if (input !== undefined && others.length === 0) members.set('input', JSON.stringify(input))
  }
  return hashContent(type, model, members)
}

/** The content hash of each input, as if it were an embedding job with that input alone. */
export function hashInputsOf(model: string, body: JsonObject, inputs: readonly JsonValue[]): string[] {
  const members = readContent('embedding', body)
  members.set('model', JSON.stringify(model))
  return inputs.map((input) => hashContent('embedding', model, members.set('input', JSON.stringify(input))))
}

/** The canonical texts of the members that decide the answer. */
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
