import { isUtf8 } from 'node:buffer'
import { parse } from 'secure-json-parse'
import type { JsonValue } from '../lib/json.ts'
import { ApiError } from './errors.ts'
import { formatPath } from './issues.ts'
import { bodyBounds, createBodyScanner, refuseExcess } from './json-bounds.ts'

/** Deeper values overflow `JSON.stringify` on their way out, some thousand levels down; nobody needs 64. */
const maxDepth = bodyBounds.depth

type Fault = { path: PropertyKey[]; what: string }

/**
 * Parses JSON text and refuses what later steps could not carry: `__proto__` keys, nesting beyond 64, numbers beyond
 * a double, and text that is not Unicode (canonical JSON, RFC 8785, has no form for these). Texts with more structure
 * than `bodyBounds` allows are not even parsed. Throws `invalid_request` and `payload_too_large`;
 * `root` names the whole value in its message.
 *
 * @param options.isScanned a scanner saw the text already, as it came
 */
export function parseJson(text: Buffer, root: string, options: { isScanned?: boolean } = {}): JsonValue {
  const excess = options.isScanned ? null : createBodyScanner().push(text)
  if (excess !== null) throw refuseExcess(excess, root)
  if (!isUtf8(text)) throw new ApiError('invalid_request', `${root}: is not valid UTF-8`, { param: root })
  let value: JsonValue
  try {
    value = parse(text.toString('utf8'))
  } catch (error) {
    throw new ApiError('invalid_request', `${root}: ${explain(error)}`, { param: root })
  }
  const fault = findFault(value, 0)
  if (fault === null) return value
  const place = formatPath(fault.path.reverse()) || root
  throw new ApiError('invalid_request', `${place}: ${fault.what}`, { param: place })
}

/** V8 repeats some of the text in its messages; only the position may be told, for the text may be a prompt. */
function explain(error: unknown): string {
  if (!(error instanceof SyntaxError)) return 'is not valid JSON'
  if (error.message.includes('forbidden prototype'))
    return 'the keys "__proto__" and "constructor.prototype" are not taken'
  const position = /at position \d+( \(line \d+ column \d+\))?/.exec(error.message)?.[0]
  return position === undefined ? 'is not valid JSON' : `is not valid JSON ${position}`
}

/** The first thing that cannot be carried on, its path from the inside out. Recursion ends at `maxDepth`. */
function findFault(value: JsonValue | undefined, depth: number): Fault | null {
  switch (typeof value) {
    case 'string':
      return value.isWellFormed()
        ? null
        : { path: [], what: 'has half of a surrogate pair, which is not Unicode' }
    case 'number':
      return Number.isFinite(value) ? null : { path: [], what: 'is a number too large for a double' }
    case 'object':
      break
    default:
      return null
  }
  if (value === null) return null
  if (depth === maxDepth) return { path: [], what: `is nested more than ${maxDepth} levels deep` }
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const fault = findFault(value[index], depth + 1)
      if (fault !== null) return { path: withKey(fault.path, index), what: fault.what }
    }
    return null
  }
  for (const key of Object.keys(value)) {
    if (!key.isWellFormed()) return { path: [], what: 'has a key with half of a surrogate pair' }
    const fault = findFault(value[key], depth + 1)
    if (fault !== null) return { path: withKey(fault.path, key), what: fault.what }
  }
  return null
}

function withKey(path: PropertyKey[], key: PropertyKey): PropertyKey[] {
  path.push(key)
  return path
}
