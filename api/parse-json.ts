import { isUtf8 } from 'node:buffer'
import { parse } from 'secure-json-parse'
import { longWorkTurn } from '../lib/breathe.ts'
import { isJsonObject, type JsonValue } from '../lib/json.ts'
import { keepSource } from '../lib/json-source.ts'
import { countMembers, findRepeatedName } from '../lib/json-text.ts'
import { ApiError } from './errors.ts'
import { formatPath } from './issues.ts'
import { bodyBounds, createBodyScanner, refuseExcess } from './json-bounds.ts'

/** Deeper values would overflow `JSON.stringify` some thousand levels down; nobody needs 64. */
const maxDepth = bodyBounds.depth

/** The mark that some clients put before UTF-8. It is no part of the JSON, whose text goes on to the provider. */
const MARK = Buffer.from([0xef, 0xbb, 0xbf])

type JsonFault = { path: PropertyKey[]; what: string }

/**
 * Parses JSON text. An object keeps its text (lib/json-source.ts), so that numbers that a double cannot hold are passed on as written.
 * Refuses what later steps could not handle: `__proto__` keys, nesting beyond 64, and duplicate names in an object, of which we and the
 * provider might read different ones. Texts with more structure than `bodyBounds` allows are not parsed at all. Throws `invalid_request`
 * and `payload_too_large`; `root` names the whole value in messages.
 *
 * @param options.isScanned a scanner has already checked the text
 */
export function parseJson(text: Buffer, root: string, options: { isScanned?: boolean } = {}): JsonValue {
  const excess = options.isScanned ? null : createBodyScanner().push(text)
  if (excess !== null) throw refuseExcess(excess, root)
  const source = decode(text, root)
  return check(parseSource(source, root), source, root)
}

/** Texts of this many bytes or more are for `parseLargeJson`. */
export const LARGE_TEXT_BYTES = 1024 * 1024

/** The same for a large text that was scanned, with each step in its own turn of the event loop. */
export async function parseLargeJson(text: Buffer, root: string): Promise<JsonValue> {
  await longWorkTurn()
  const source = decode(text, root)
  await longWorkTurn()
  const value = parseSource(source, root)
  await longWorkTurn()
  const checked = check(value, source, root)
  await longWorkTurn()
  return checked
}

function decode(text: Buffer, root: string): string {
  if (!isUtf8(text)) throw new ApiError('invalid_request', `${root}: is not valid UTF-8`, { param: root })
  const marked = text.length >= MARK.length && text.subarray(0, MARK.length).equals(MARK)
  return text.toString('utf8', marked ? MARK.length : 0)
}

function parseSource(source: string, root: string): JsonValue {
  try {
    return parse(source)
  } catch (error) {
    throw new ApiError('invalid_request', `${root}: ${explain(error)}`, { param: root })
  }
}

function check(value: JsonValue, source: string, root: string): JsonValue {
  const seen = { members: 0 }
  const fault = findFault(value, 0, seen) ?? findRepetition(source, seen.members)
  if (fault === null) return isJsonObject(value) ? keepSource(value, source) : value
  const place = formatPath(fault.path.reverse()) || root
  throw new ApiError('invalid_request', `${place}: ${fault.what}`, { param: place })
}

/** Finds a duplicate name in an object. Searches only if the text has more members than the value. */
function findRepetition(source: string, members: number): JsonFault | null {
  if (countMembers(source) === members) return null
  const path = findRepeatedName(source)
  return path && { path: path.reverse(), what: 'stands twice in its object' }
}

/** V8's messages repeat parts of the text, which may be a prompt. Only the position is passed on. */
function explain(error: unknown): string {
  if (!(error instanceof SyntaxError)) return 'is not valid JSON'
  if (error.message.includes('forbidden prototype'))
    return 'the keys "__proto__" and "constructor.prototype" are not taken'
  const position = /at position \d+( \(line \d+ column \d+\))?/.exec(error.message)?.[0]
  return position === undefined ? 'is not valid JSON' : `is not valid JSON ${position}`
}

/**
 * Finds the first value that later steps could not handle, with its path from the inside out. Counts members. Recursion ends at `maxDepth`.
 */
function findFault(value: JsonValue | undefined, depth: number, seen: { members: number }): JsonFault | null {
  if (typeof value !== 'object' || value === null) return null
  if (depth === maxDepth) return { path: [], what: `is nested more than ${maxDepth} levels deep` }
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const fault = findFault(value[index], depth + 1, seen)
      if (fault !== null) return { path: withKey(fault.path, index), what: fault.what }
    }
    return null
  }
  const keys = Object.keys(value)
  seen.members += keys.length
  for (const key of keys) {
    const fault = findFault(value[key], depth + 1, seen)
    if (fault !== null) return { path: withKey(fault.path, key), what: fault.what }
  }
  return null
}

function withKey(path: PropertyKey[], key: PropertyKey): PropertyKey[] {
  path.push(key)
  return path
}
