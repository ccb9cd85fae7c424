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

/**
 * The canonical form of a JSON text: RFC 8785 but for two things. Numbers that a double cannot hold stay as they are written,
 * so that two of them which only look equal as doubles are not; and members keep their order where `keepsOrder` says so. Equal
 * for texts that ask for the same, whatever their blanks, escapes, and the order of their other members.
 *
 * @param from where the value begins, and whether the order counts in it from the outset
 */
export function canonicalizeText(
  text: string,
  keepsOrder: KeepsOrder,
  from: { at: number; isOrdered: boolean } = { at: 0, isOrdered: false },
): string {
  let { at } = from

  function readName(): string {
    const end = skipString(text, at)
    const raw = text.slice(at, end)
    at = end
    return raw.includes('\\') ? JSON.stringify(JSON.parse(raw)) : raw
  }

  function read(isOrdered: boolean): string {
    at = skipBlanks(text, at)
    const code = text.charCodeAt(at)
    if (code === QUOTE) return readName()
    if (code === OPEN_BRACE) return readObject(isOrdered)
    if (code === OPEN_BRACKET) return readArray(isOrdered)
    const end = skipValue(text, at)
    const raw = text.slice(at, end)
    at = end
    // What is no literal is a number.
    return raw === 'true' || raw === 'false' || raw === 'null' ? raw : canonicalizeNumber(raw)
  }

  function readArray(isOrdered: boolean): string {
    let written = '['
    at = skipBlanks(text, at + 1)
    while (text.charCodeAt(at) !== CLOSE_BRACKET) {
      written += (written.length > 1 ? ',' : '') + read(isOrdered)
      at = skipBlanks(text, at)
      if (text.charCodeAt(at) === COMMA) at = skipBlanks(text, at + 1)
    }
    at++
    return `${written}]`
  }

  function readObject(isOrdered: boolean): string {
    const members: [name: string, value: string][] = []
    at = skipBlanks(text, at + 1)
    while (text.charCodeAt(at) !== CLOSE_BRACE) {
      const name = readName()
      at = skipBlanks(text, at) + 1
      members.push([name, read(isOrdered || keepsOrder(name.slice(1, -1)))])
      at = skipBlanks(text, at)
      if (text.charCodeAt(at) === COMMA) at = skipBlanks(text, at + 1)
    }
    at++
    if (!isOrdered) members.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0))
    // Not by `join`, which would copy what is deep inside once for every level.
    let written = ''
    for (const [name, value] of members) written += `${written === '' ? '{' : ','}${name}:${value}`
    return written === '' ? '{}' : `${written}}`
  }

  return read(from.isOrdered)
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
