import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import type { JobType } from './job.ts'

/**
 * Members, with the values, that make an answer belong to one call: what they name changes by the call, or without it.
 * docs/concepts.md has the table.
 */
const UNSHARED: Record<string, (value: JsonValue) => boolean> = {
  // State at the provider that the call continues and changes.
  conversation: isSet,
  previous_response_id: isSet,
  container: isSet,
  store: (value) => value === true,
  thread_id: isSet,
  assistant_id: isSet,
  // A template without a version is the latest saved one.
  prompt: (value) => isJsonObject(value) && !isSet(value.version ?? null),
  // What the provider looks up, or does, while it answers.
  mcp_servers: isSet,
  web_search_options: isSet,
  search_parameters: isSet,
  data_sources: isSet,
  plugins: isSet,
  enable_search: (value) => value === true,
}

/**
 * The part of a body because of which its answer is neither cached nor shared: it acts on something, or depends on something
 * that changes. Null: there is none, and equal jobs may share one answer.
 */
export function findUnshared(type: JobType, body: JsonObject): string | null {
  if (type === 'embedding') return null
  for (const [name, isUnshared] of Object.entries(UNSHARED)) {
    const value = body[name]
    if (value !== undefined && isUnshared(value)) return name
  }
  if (Array.isArray(body.tools)) {
    const at = body.tools.findIndex((tool) => !isAnsweredByClient(tool))
    if (at !== -1) return `tools[${at}]`
  }
  if (Array.isArray(body.input)) {
    const at = body.input.findIndex((item) => isJsonObject(item) && item.type === 'item_reference')
    if (at !== -1) return `input[${at}]`
  }
  // OpenRouter's models that look things up.
  return typeof body.model === 'string' && body.model.endsWith(':online') ? 'model' : null
}

/** Whether a tool is only described: the model names it, and the client runs it. All other tools the provider runs itself. */
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

/** Null, false, and what is empty ask for nothing. */
function isSet(value: JsonValue): boolean {
  if (value === null || value === false || value === '') return false
  return !Array.isArray(value) || value.length > 0
}
