import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { withMembers } from '../lib/json-source.ts'
import { UnmappableError } from './unmappable.ts'

const CHOICES: Record<string, string> = { auto: 'auto', none: 'none', required: 'any' }
/** Anthropic's own choices pass unchanged. */
const OWN_CHOICES = new Set(['auto', 'any', 'tool', 'none'])

/** Maps the tools, the tool choice, and whether parallel calls are allowed. Empty where there are no tools. */
export function mapTools(
  tools: JsonValue | undefined,
  choice: JsonValue | undefined,
  parallel: JsonValue | undefined,
): JsonObject {
  if (!Array.isArray(tools) || tools.length === 0) {
    if (isOptional(choice)) return {}
    throw new UnmappableError('tool_choice', 'there are no tools to choose from')
  }
  const mapped: JsonObject = { tools: tools.map((tool, index) => mapTool(tool, `tools[${index}]`)) }
  const chosen = mapChoice(choice)
  if (parallel === false && chosen?.type !== 'none') {
    mapped.tool_choice = { ...(chosen ?? { type: 'auto' }), disable_parallel_tool_use: true }
  } else if (chosen) mapped.tool_choice = chosen
  return mapped
}

/** Converts functions to Anthropic's client tools. Tools already in Anthropic's form pass unchanged. */
function mapTool(tool: JsonValue, path: string): JsonObject {
  if (!isJsonObject(tool)) throw new UnmappableError(path, 'expected a tool')
  if (!isJsonObject(tool.function)) {
    if (tool.type === 'function' || isJsonObject(tool.custom)) {
      throw new UnmappableError(path, 'anthropic accepts functions, or tools in its own form')
    }
    return tool
  }
  const { type: _type, function: called, ...rest } = tool
  const { name, description, parameters, strict } = called
  return {
    ...rest,
    name: name ?? '',
    ...(typeof description === 'string' ? { description } : {}),
    input_schema: isJsonObject(parameters) ? toSchema(parameters) : { type: 'object', properties: {} },
    ...(strict === true ? { strict } : {}),
  }
}

/** Keeps the source text: the order of a schema's members matters to a model. */
function toSchema(parameters: JsonObject): JsonObject {
  return parameters.type === undefined ? withMembers(parameters, { type: 'object' }) : parameters
}

function mapChoice(choice: JsonValue | undefined): JsonObject | null {
  if (choice === undefined || choice === null) return null
  if (typeof choice === 'string' && Object.hasOwn(CHOICES, choice)) return { type: CHOICES[choice]! }
  if (isJsonObject(choice)) {
    if (choice.type === 'function' && isJsonObject(choice.function)) {
      return { type: 'tool', name: choice.function.name ?? '' }
    }
    if (typeof choice.type === 'string' && OWN_CHOICES.has(choice.type)) return choice
  }
  throw new UnmappableError('tool_choice', 'anthropic accepts auto, none, required, or one function')
}

function isOptional(choice: JsonValue | undefined): boolean {
  return choice === undefined || choice === null || choice === 'auto' || choice === 'none'
}
