/** What a JSON text may hold before it is parsed. */
export type JsonBounds = {
  /** Levels of arrays and objects inside one another. */
  depth: number
  /** Values altogether: objects, arrays, and what stands in them. */
  values: number
  /** Names of members altogether. */
  names: number
  /** Names that differ from one another; each costs ten times what a repeated one does. Those that share a bit count once, about 5% of 100,000. */
  distinctNames: number
  /** Escapes in strings altogether: each costs all that walk over the text ten times what another character does. */
  escapes: number
}

/** The first bound that a text passes. */
export type JsonExcess = { bound: keyof JsonBounds; most: number }

/** Counts the structure of a JSON text as its bytes come, cut anywhere. */
export type JsonScanner = {
  /** What passes a bound in this piece or did so in one before; null: nothing did. */
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

/** Names are told apart by one of 2^20 bits. */
const seenBits = 20

/** Bytes of a string without an escape that are looked at one by one. What follows is jumped over: a long string is text or base64, hardly a name. */
const WALKED_BYTES = 4096
/** Bytes that are searched at a time: a quote far away is not looked for again at each escape. */
const JUMP_BYTES = 32 * 1024

/** Shorter texts, in bytes, are looked at for their depth alone, where the other bounds leave them that. */
const SHORT_BYTES = 64 * 1024

/** Differs with each process, so that nobody can choose names that share a bit. */
const seed = crypto.getRandomValues(new Int32Array(1))[0]!

/**
 * Counts what `JSON.parse` and all that walk over its value take time for, in about 4 ns a byte, a twentieth of that in long strings. It checks no syntax: for valid JSON the counts are exact, and
 * for the rest the parser finds the fault.
 */
export function createJsonScanner(bounds: JsonBounds): JsonScanner {
  // A byte is one value, name or escape at the most, and each level has a bracket: most texts are short and flat, and need no scan.
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

/** How often a byte occurs; counts no further than one beyond `most`. */
function countByte(bytes: Uint8Array, byte: number, most: number): number {
  let count = 0
  for (let at = bytes.indexOf(byte); at !== -1 && count <= most; at = bytes.indexOf(byte, at + 1)) count++
  return count
}

/** Looks at each byte. */
function createExactScanner(bounds: JsonBounds): JsonScanner {
  let depth = 0
  // The value at the top; each comma adds one, and so does what comes first in an array or object.
  let values = 1
  let names = 0
  let distinct = 0
  let escapes = 0
  let inString = false
  let isEscaped = false
  /** Bytes of the string since it began, or since its last escape. */
  let walked = 0
  /** Nothing came since an array or object opened. */
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

/** Where the next quote or backslash stands, from `at` on; the length where there is none. */
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

/** `has more than 500000 values`: how an excess reads behind the name of what has it. */
export function describeJsonExcess({ bound, most }: JsonExcess): string {
  if (bound === 'depth') return `is nested more than ${most} levels deep`
  if (bound === 'values') return `has more than ${most} values`
  if (bound === 'escapes') return `has more than ${most} escapes in its strings`
  return `has more than ${most} ${bound === 'distinctNames' ? 'different ' : ''}names of members`
}
