import { partialParse } from '@anthropic-ai/sdk/_vendor/partial-json-parser/parser'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { keepSource, parseWithSource } from '../lib/json-source.ts'
import { createJsonScanner, describeJsonExcess, type JsonBounds } from '../lib/scan-json.ts'
import { UnmappableError } from './unmappable.ts'

/** Bounds on the arguments of all tool calls of one request, the same as on the request itself: each is parsed and serialized. */
const argumentBounds: JsonBounds = {
  depth: 64,
  values: 500_000,
  names: 100_000,
  distinctNames: 100_000,
  escapes: 3_000_000,
}

/** Reads the arguments of a tool call; null where they are not a JSON object. Throws UnmappableError beyond the bounds. */
export type ArgumentReader = (text: JsonValue | undefined, path: string) => JsonObject | null

/** Creates a reader for one request. Its bounds count over all tool calls. */
export function createArgumentReader(): ArgumentReader {
  const scanner = createJsonScanner(argumentBounds)
  return (text, path) => {
    if (text === undefined || text === null || text === '') return {}
    if (typeof text !== 'string') return isJsonObject(text) ? text : null
    const excess = scanner.push(Buffer.from(text))
    if (excess !== null) throw new UnmappableError(path, describeJsonExcess(excess))
    return parseObject(text)
  }
}

function parseObject(text: string): JsonObject | null {
  try {
    const value: unknown = parseWithSource(text)
    return isJsonObject(value) ? value : null
  } catch {
    return null
  }
}

/** A longer input, in characters, is not mended where it is cut. */
const MOST_MENDED = 1024 * 1024

/**
 * The input of a call that came in pieces, which keeps its text. One that is cut, as it is where the answer ran into its
 * cap, has what came whole of it, as Anthropic's package reads it; one that is no JSON stands as Anthropic's pages write
 * it ("Fine-grained tool streaming"). The answer is paid for either way.
 */
export function readStreamedInput(text: string): JsonValue {
  try {
    const value = JSON.parse(text) as JsonValue
    return typeof value === 'object' && value !== null ? keepSource(value, text) : value
  } catch {
    return (text.length <= MOST_MENDED && mend(text)) || { INVALID_JSON: text }
  }
}

function mend(text: string): JsonObject | null {
  try {
    const value: unknown = partialParse(text)
    return isJsonObject(value) ? value : null
  } catch {
    return null
  }
}
