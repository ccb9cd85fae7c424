import { hash } from 'node:crypto'
import { skipBlanks, skipString, skipValue } from './json-text.ts'

/** Whether the order of members means something in the value of this member; inside such a value it does at every depth. */
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

/** Every decimal of so many digits is the shortest that stands for its double. */
const PLAIN_DIGITS = 15
/** Behind the point: 0.000001 is written so, and a tenth of it is 1e-7. */
const PLAIN_ZEROS = 6

/** Of the escapes, only these can be written otherwise. A pattern, for it passes over dense escapes faster than `includes`. */
const REWRITTEN_ESCAPE = /\\[u/]/

/**
 * The canonical form of a JSON text: RFC 8785 but for two things. Numbers that a double cannot hold stay as they are written,
 * so that two of them which only look equal as doubles are not; and members keep their order where `keepsOrder` says so. Texts
 * that ask for the same are equal, with any blanks, escapes, and order of their other members.
 *
 * @param from where the value begins, and whether the order counts in it from the outset
 */
export function canonicalizeText(
  text: string,
  keepsOrder: KeepsOrder,
  from: { at: number; isOrdered: boolean } = { at: 0, isOrdered: false },
): string {
  return readValue({ text, at: skipBlanks(text, from.at), keepsOrder }, from.isOrdered)
}

type TextReader = { text: string; at: number; keepsOrder: KeepsOrder }

/** Each of these reads what begins at `at`, and leaves `at` behind it. */
function readValue(reader: TextReader, isOrdered: boolean): string {
  const { text, at } = reader
  const code = text.charCodeAt(at)
  if (code === QUOTE) return readString(reader)
  if (code === OPEN_BRACE) return readObject(reader, isOrdered)
  if (code === OPEN_BRACKET) return readArray(reader, isOrdered)
  reader.at = skipValue(text, at)
  const raw = text.slice(at, reader.at)
  // What is no literal is a number.
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
  // Not by `join`, which would copy what is deep inside once for every level.
  let written = '{'
  for (const { name, value } of members) written += `${written.length > 1 ? ',' : ''}${name}:${value}`
  return `${written}}`
}

/**
 * The place behind the last of some plain numbers that stand one behind the other without blanks: such a run is canonical as
 * it is. A plain number has 15 digits at the most, no exponent, and none that says nothing: its double prints as the same.
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

/** Whether the digits have a zero that says nothing, or are so small that they would be written with an exponent. */
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

/** Longer numbers are compared as they are written; a double has 309 digits before its point at the most. */
const MOST_DIGITS = 400

/** As RFC 8785 writes it where a double holds the number exactly as it is written; else as it is written. */
export function canonicalizeNumber(raw: string): string {
  const shortest = String(Number(raw))
  if (shortest === raw || raw.length > MOST_DIGITS) return raw
  return sizeOf(shortest) === sizeOf(raw) ? shortest : raw
}

/** A decimal's sign, digits and power of ten, equal for equal decimals. Minus zero is a value of its own. */
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
