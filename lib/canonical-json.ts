import { hash } from 'node:crypto'
import { skipBlanks, skipString, skipValue } from './json-text.ts'

/** Whether the order of members matters in the value of this member. If it does, it matters at every depth inside. */
export type KeepsOrder = (name: string) => boolean

const QUOTE = 0x22
const COMMA = 0x2c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const MINUS = 0x2d
const POINT = 0x2e
const ZERO = 0x30
const NINE = 0x39

/** Every decimal with this many digits is the shortest form of its double. */
const PLAIN_DIGITS = 15
/** Zeros after the point: 0.000001 is written this way, and a tenth of it is 1e-7. */
const PLAIN_ZEROS = 6

/** Only these escapes have another form. A regular expression, because it is faster than `includes` on text with many escapes. */
const REWRITTEN_ESCAPE = /\\[u/]/

/**
 * The canonical form of a JSON text: RFC 8785 with two exceptions. Numbers that a double cannot hold keep their text, so that two numbers
 * that only look equal as doubles stay different. And members keep their order where `keepsOrder` says so. Texts with the same meaning
 * become equal. Their white space, their escapes and the order of other members do not count.
 *
 * @param from where the value begins, and whether the order matters from there on
 */
export function canonicalizeText(
  text: string,
  keepsOrder: KeepsOrder,
  from: { at: number; isOrdered: boolean } = { at: 0, isOrdered: false },
): string {
  return readValue({ text, at: skipBlanks(text, from.at), keepsOrder }, from.isOrdered)
}

type TextReader = { text: string; at: number; keepsOrder: KeepsOrder }

/** Each of these functions reads the value at `at` and moves `at` past it. */
function readValue(reader: TextReader, isOrdered: boolean): string {
  const { text, at } = reader
  const code = text.charCodeAt(at)
  if (code === QUOTE) return readString(reader)
  if (code === OPEN_BRACE) return readObject(reader, isOrdered)
  if (code === OPEN_BRACKET) return readArray(reader, isOrdered)
  reader.at = skipValue(text, at)
  const raw = text.slice(at, reader.at)
  // Anything that is not a literal is a number.
  return raw === 'true' || raw === 'false' || raw === 'null' ? raw : canonicalizeNumber(raw)
}

function readString(reader: TextReader): string {
  const end = skipString(reader.text, reader.at)
  const raw = reader.text.slice(reader.at, end)
  reader.at = end
  return REWRITTEN_ESCAPE.test(raw) ? JSON.stringify(JSON.parse(raw)) : raw
}

function readArray(reader: TextReader, isOrdered: boolean): string {
  const { text } = reader
  let written = '['
  reader.at = skipBlanks(text, reader.at + 1)
  while (text.charCodeAt(reader.at) !== CLOSE_BRACKET) {
    if (written.length > 1) written += ','
    const run = findPlainRun(text, reader.at)
    if (run > reader.at) {
      written += text.slice(reader.at, run)
      reader.at = run
    } else written += readValue(reader, isOrdered)
    skipSeparator(reader)
  }
  reader.at++
  return `${written}]`
}

function readObject(reader: TextReader, isOrdered: boolean): string {
  const { text, keepsOrder } = reader
  const members: { name: string; value: string }[] = []
  let isSorted = true
  let before = ''
  reader.at = skipBlanks(text, reader.at + 1)
  while (text.charCodeAt(reader.at) !== CLOSE_BRACE) {
    const name = readString(reader)
    reader.at = skipBlanks(text, skipBlanks(text, reader.at) + 1)
    members.push({ name, value: readValue(reader, isOrdered || keepsOrder(name.slice(1, -1))) })
    isSorted &&= before < name
    before = name
    skipSeparator(reader)
  }
  reader.at++
  if (!isOrdered && !isSorted) members.sort((left, right) => (left.name < right.name ? -1 : 1))
  // Not with `join`, which would copy deeply nested text once per level.
  let written = '{'
  for (const { name, value } of members) written += `${written.length > 1 ? ',' : ''}${name}:${value}`
  return `${written}}`
}

/**
 * The end of a run of plain numbers without white space between them. Such a run is already canonical. A plain number has at most 15
 * digits, no exponent and no redundant zeros, so its double prints the same.
 */
function findPlainRun(text: string, from: number): number {
  let last = from
  for (let at = from; ; at++) {
    const start = text.charCodeAt(at) === MINUS ? at + 1 : at
    at = start
    let digits = 0
    let point = -1
    let code = text.charCodeAt(at)
    for (; (code >= ZERO && code <= NINE) || (code === POINT && point === -1); code = text.charCodeAt(++at)) {
      if (code === POINT) point = at
      else digits++
    }
    const isEnd = code === COMMA || code === CLOSE_BRACKET
    if (!isEnd || digits === 0 || digits > PLAIN_DIGITS || !isPlain(text, start, point, at)) return last
    last = at
    if (code === CLOSE_BRACKET) return last
  }
}

/** Whether the number has no redundant zeros, and is large enough to be written without an exponent. */
function isPlain(text: string, start: number, point: number, end: number): boolean {
  const startsWithZero = text.charCodeAt(start) === ZERO
  if (point === -1) return !startsWithZero || (end === start + 1 && text.charCodeAt(start - 1) !== MINUS)
  if (text.charCodeAt(end - 1) === ZERO || point === end - 1) return false
  if (!startsWithZero) return true
  let zeros = 0
  while (text.charCodeAt(point + 1 + zeros) === ZERO) zeros++
  return zeros < PLAIN_ZEROS
}

function skipSeparator(reader: TextReader): void {
  reader.at = skipBlanks(reader.text, reader.at)
  if (reader.text.charCodeAt(reader.at) === COMMA) reader.at = skipBlanks(reader.text, reader.at + 1)
}

/** SHA-256 in hex. */
export function hashText(text: string): string {
  return hash('sha256', text, 'hex')
}

/** Longer numbers are compared as text. A double has at most 309 digits before its point. */
const MOST_DIGITS = 400

/** The form of RFC 8785 if a double holds the number exactly; otherwise the number as written. */
export function canonicalizeNumber(raw: string): string {
  const shortest = String(Number(raw))
  if (shortest === raw || raw.length > MOST_DIGITS) return raw
  return sizeOf(shortest) === sizeOf(raw) ? shortest : raw
}

/** A decimal's sign, digits and power of ten; equal for equal decimals. Minus zero is a different value. */
function sizeOf(decimal: string): string {
  const match = /^(-?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(decimal)
  if (!match) return decimal
  const [, sign, whole, fraction = '', exponent = '0'] = match
  const digits = `${whole}${fraction}`
  let first = 0
  while (digits[first] === '0') first++
  if (first === digits.length) return `${sign}0`
  let end = digits.length
  while (digits[end - 1] === '0') end--
  const power = BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - end)
  return `${sign}${digits.slice(first, end)}e${power}`
}
