import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { parseWithSource } from '../lib/json-source.ts'
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
