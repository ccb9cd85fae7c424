import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import type { JobType } from './job.ts'

/**
 * Members, with the values for which an answer belongs to one call only, because what they name changes by the call or
 * without it. docs/concepts.md has the table.
 */
const UNSHARED: Record<string, (value: JsonValue) => boolean> = {
  // State at the provider, which the call continues and changes.
  conversation: isSet,
  previous_response_id: isSet,
  container: isSet,
  store: (value) => value === true,
  thread_id: isSet,
  assistant_id: isSet,
  agent_id: isSet,
  fallback_credit_token: isSet,
  // A template without a version is the latest saved one.
  prompt: (value) => isJsonObject(value) && !isSet(value.version ?? null),
  // What the provider looks up or does while it answers.
  mcp_servers: isSet,
  web_search_options: isSet,
  search_parameters: isSet,
  data_sources: isSet,
  plugins: isSet,
  connectors: isSet,
  enable_search: (value) => value === true,
  enable_code_interpreter: (value) => value === true,
}

/** Objects into which clients put members that their SDK does not know. Gateways read them; Gemini's reads both. */
const WRAPPERS = ['extra_body', 'google'] as const

/**
 * Models that look things up for every answer, or act: OpenRouter's with `:online`, Perplexity's Sonar, OpenAI's search
 * models, Groq's Compound.
 */
const LOOKS_UP =
  /:online$|(?:^|\/)sonar(?:-[a-z0-9-]+)?$|-search-(?:preview|api)(?:-[\d-]+)?$|(?:^|\/)compound(?:-[a-z0-9-]+)?$/i

/**
 * The part of a body for which its answer is neither cached nor shared, because it acts on something or depends on
 * something that changes. Null: there is none, and equal jobs may share one answer.
 *
 * @param models names of the models at their providers that may serve the job; the body's own name may be an alias
 */
export function findUnshared(type: JobType, body: JsonObject, models: readonly string[] = []): string | null {
  if (type === 'embedding') return null
  const member = findUnsharedMember(body)
  if (member !== null) return member
  if (Array.isArray(body.input)) {
    const at = body.input.findIndex((item) => isJsonObject(item) && item.type === 'item_reference')
    if (at !== -1) return `input[${at}]`
  }
  const named = [body.model, ...models, ...(Array.isArray(body.models) ? body.models : [])]
  return named.some((name) => typeof name === 'string' && LOOKS_UP.test(name)) ? 'model' : null
}

function findUnsharedMember(body: JsonObject): string | null {
  for (const [name, isUnshared] of Object.entries(UNSHARED)) {
    const value = body[name]
    if (value !== undefined && isUnshared(value)) return name
  }
  if (Array.isArray(body.tools)) {
    const at = body.tools.findIndex((tool) => !isAnsweredByClient(tool))
    if (at !== -1) return `tools[${at}]`
  }
  for (const name of WRAPPERS) {
    const inner = body[name]
    const found = isJsonObject(inner) ? findUnsharedMember(inner) : null
    if (found !== null) return `${name}.${found}`
  }
  return null
}

/**
 * Whether a tool is only described: the model names it, and the client runs it. The provider runs all other tools
 * itself.
 */
function isAnsweredByClient(tool: JsonValue): boolean {
  if (!isJsonObject(tool)) return true // the provider will refuse it
  const { type } = tool
  if (type === 'function' || type === 'custom') return true
  if (type === 'namespace') return Array.isArray(tool.tools) && tool.tools.every(isAnsweredByClient)
  if (type !== undefined && type !== null) return false
  const names = Object.keys(tool)
  // Anthropic's own form, and Gemini's, whose hosted tools are members of their own.
  return (
    'input_schema' in tool ||
    isJsonObject(tool.function) ||
    (names.length > 0 &&
      names.every((name) => name === 'functionDeclarations' || name === 'function_declarations'))
  )
}

/** Null, false and empty values ask for nothing. */
function isSet(value: JsonValue): boolean {
  if (value === null || value === false || value === '') return false
  return !Array.isArray(value) || value.length > 0
}
