/** Limits for a JSON text before it is parsed. */
export type JsonBounds = {
  /** Levels of nested arrays and objects. */
  depth: number
  /** Total number of values: objects, arrays, and their elements. */
  values: number
  /** Total number of member names. */
  names: number
  /** Number of distinct names. Each costs ten times as much as a repeated one. Names that share a bit count once, about 5% of 100,000. */
  distinctNames: number
  /** Total number of escapes in strings. Each costs ten times as much as another character in all code that scans the text. */
  escapes: number
}

/** The first limit that a text exceeds. */
export type JsonExcess = { bound: keyof JsonBounds; most: number }

/** Counts the structure of a JSON text as its bytes arrive, split anywhere. */
export type JsonScanner = {
  /** The limit that was exceeded in this or an earlier piece; null: none. */
  push(bytes: Uint8Array): JsonExcess | null
}

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const colon = 0x3a
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

/** Distinct names are counted by one of 2^20 bits. */
const seenBits = 20

/**
 * Bytes of a string without an escape that are checked one by one. The rest is skipped quickly: a long string is text or base64, hardly a
 * name.
 */
const WALKED_BYTES = 4096
/** Bytes that are searched at a time, so that a distant quote is not searched again at each escape. */
const JUMP_BYTES = 32 * 1024

/** In shorter texts, in bytes, only the depth is checked, if the other limits cannot be exceeded. */
const SHORT_BYTES = 64 * 1024

/** Random per process, so that nobody can choose names that share a bit. */
const seed = crypto.getRandomValues(new Int32Array(1))[0]!

/**
 * Counts what costs time in `JSON.parse` and in all code that scans the value. It takes about 4 ns per byte, a twentieth of that in long
 * strings. It does not check the syntax: for valid JSON the counts are exact, and for other text the parser finds the error.
 */
export function createJsonScanner(bounds: JsonBounds): JsonScanner {
  // A byte is at most one value, name or escape, and each level has a bracket: most texts are short and flat and need no scan.
  const short = Math.min(SHORT_BYTES, bounds.values, bounds.names, bounds.distinctNames, bounds.escapes)
  let scanner: JsonScanner | null = null
  let waiting: Uint8Array[] = []
  let size = 0
  let brackets = 0
  return {
    push(bytes) {
      if (scanner !== null) return scanner.push(bytes)
      size += bytes.length
      waiting.push(bytes)
      if (size < short) {
        brackets += countByte(bytes, openBrace, bounds.depth - brackets)
        brackets += countByte(bytes, openBracket, bounds.depth - brackets)
        if (brackets <= bounds.depth) return null
      }
      const exact = createExactScanner(bounds)
      scanner = exact
      let excess: JsonExcess | null = null
      for (const part of waiting) excess = exact.push(part)
      waiting = []
      return excess
    },
  }
}

/** Counts a byte, at most to `most` + 1. */
function countByte(bytes: Uint8Array, byte: number, most: number): number {
  let count = 0
  for (let at = bytes.indexOf(byte); at !== -1 && count <= most; at = bytes.indexOf(byte, at + 1)) count++
  return count
}

/** Checks each byte. */
function createExactScanner(bounds: JsonBounds): JsonScanner {
  let depth = 0
  // The top-level value. Each comma adds one, and so does the first element of an array or object.
  let values = 1
  let names = 0
  let distinct = 0
  let escapes = 0
  let inString = false
  let isEscaped = false
  /** Bytes of the string since its beginning or its last escape. */
  let walked = 0
  /** An array or object has opened and is still empty. */
  let isEmpty = false
  let hash = seed
  let seen: Uint8Array | null = null
  let excess: JsonExcess | null = null

  function countName(): boolean {
    names++
    if (names > bounds.names) return pass('names')
    seen ??= new Uint8Array(1 << (seenBits - 3))
    const place = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> (32 - seenBits)
    const bit = 1 << (place & 7)
    if ((seen[place >>> 3]! & bit) !== 0) return false
    seen[place >>> 3]! |= bit
    distinct++
    return distinct > bounds.distinctNames && pass('distinctNames')
  }

  function pass(bound: keyof JsonBounds): true {
    excess = { bound, most: bounds[bound] }
    return true
  }

  return {
    push(bytes) {
      if (excess !== null) return excess
      for (let at = 0; at < bytes.length; at++) {
        if (inString && ++walked > WALKED_BYTES && !isEscaped) {
          at = findMark(bytes, at)
          if (at === bytes.length) break
        }
        const byte = bytes[at]!
        if (inString) {
          if (isEscaped) isEscaped = false
          else if (byte === backslash) {
            isEscaped = true
            walked = 0
            if (++escapes > bounds.escapes && pass('escapes')) break
          } else if (byte === quote) inString = false
          hash = Math.imul(hash ^ byte, 0x01000193)
          continue
        }
        if (isSpace(byte)) continue
        const isEnd = byte === closeBracket || byte === closeBrace
        if (isEmpty && !isEnd && ++values > bounds.values && pass('values')) break
        isEmpty = byte === openBracket || byte === openBrace
        if (isEmpty) {
          if (++depth > bounds.depth && pass('depth')) break
        } else if (isEnd) depth--
        else if (byte === quote) {
          inString = true
          walked = 0
          hash = seed
        } else if (byte === comma) {
          if (++values > bounds.values && pass('values')) break
        } else if (byte === colon && countName()) break
      }
      return excess
    },
  }
}

/** The position of the next quote or backslash from `at` on; the length if there is none. */
function findMark(bytes: Uint8Array, at: number): number {
  for (let from = at; from < bytes.length; from += JUMP_BYTES) {
    const window = bytes.subarray(from, from + JUMP_BYTES)
    const end = window.indexOf(quote)
    const before = end === -1 ? window : window.subarray(0, end)
    const mark = before.indexOf(backslash)
    if (mark !== -1) return from + mark
    if (end !== -1) return from + end
  }
  return bytes.length
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

/** Describes an exceeded limit as a predicate: `has more than 500000 values`. */
export function describeJsonExcess({ bound, most }: JsonExcess): string {
  if (bound === 'depth') return `is nested more than ${most} levels deep`
  if (bound === 'values') return `has more than ${most} values`
  if (bound === 'escapes') return `has more than ${most} escapes in its strings`
  return `has more than ${most} ${bound === 'distinctNames' ? 'different ' : ''}names of members`
}
