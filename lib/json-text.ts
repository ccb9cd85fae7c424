/**
 * Reads and edits JSON as text, so that all other text stays as written: numbers of any size, the order of members, escapes and white
 * space. Every function takes text that `JSON.parse` accepts, and reads it once.
 */

/** One member of an object, by its positions in the text. */
export type Member = {
  /** Without escapes. */
  name: string
  /** Where its name begins, at the quote. */
  start: number
  valueStart: number
  valueEnd: number
}

/** Start and end of a value in the text. */
export type Range = { start: number; end: number }

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
/** All white space is at or below this code, and nothing else outside of strings is. */
const SPACE = 0x20

/** This many blanks are skipped one by one. For more, a regular expression finds the end: it is fast even before V8 has compiled a loop. */
const FEW_BLANKS = 32
const NO_BLANK = /[^\0- ]/g

/** The first position from `at` on that is not white space. */
export function skipBlanks(text: string, at: number): number {
  let place = at
  for (const limit = at + FEW_BLANKS; text.charCodeAt(place) <= SPACE; ) {
    if (++place < limit) continue
    NO_BLANK.lastIndex = place
    return NO_BLANK.test(text) ? NO_BLANK.lastIndex - 1 : text.length
  }
  return place
}

/** Where quotes are closer together than this, each character is checked: searching for each quote takes five times as long. */
const NEAR = 32

/** The position after the string whose opening quote is at `at`. */
export function skipString(text: string, at: number): number {
  let from = at + 1
  for (;;) {
    const end = text.indexOf('"', from)
    let escapes = end
    while (text.charCodeAt(escapes - 1) === BACKSLASH) escapes--
    if ((end - escapes) % 2 === 0) return end + 1
    const isNear = end - from < NEAR
    from = end + 1
    for (let limit = isNear ? from + NEAR : from; from < limit; ) {
      const code = text.charCodeAt(from)
      if (code === QUOTE) return from + 1
      if (code === BACKSLASH) limit = from + NEAR
      from += code === BACKSLASH ? 2 : 1
    }
  }
}

/** The position after the value that begins at `at`. */
export function skipValue(text: string, at: number): number {
  const first = text.charCodeAt(at)
  if (first === QUOTE) return skipString(text, at)
  let place = at
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) {
    for (; place < text.length; place++) {
      const code = text.charCodeAt(place)
      if (code <= SPACE || code === COMMA || code === CLOSE_BRACE || code === CLOSE_BRACKET) break
    }
    return place
  }
  let depth = 0
  do {
    const code = text.charCodeAt(place)
    if (code <= SPACE) {
      place = skipBlanks(text, place + 1)
      continue
    }
    if (code === QUOTE) {
      place = skipString(text, place)
      continue
    }
    if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth--
    place++
  } while (depth > 0)
  return place
}

/** The members of the object that begins at `at` (white space before it is skipped), in order, with repeated names. */
export function listMembers(text: string, at = 0): Member[] {
  const members: Member[] = []
  let place = skipBlanks(text, skipBlanks(text, at) + 1)
  while (text.charCodeAt(place) !== CLOSE_BRACE) {
    const start = place
    const nameEnd = skipString(text, start)
    const raw = text.slice(start + 1, nameEnd - 1)
    const name = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw
    const valueStart = skipBlanks(text, skipBlanks(text, nameEnd) + 1)
    const valueEnd = skipValue(text, valueStart)
    members.push({ name, start, valueStart, valueEnd })
    place = skipBlanks(text, valueEnd)
    if (text.charCodeAt(place) === COMMA) place = skipBlanks(text, place + 1)
  }
  return members
}

/** The elements of the array that begins at `at`. */
export function listElements(text: string, at = 0): Range[] {
  const elements: Range[] = []
  let place = skipBlanks(text, skipBlanks(text, at) + 1)
  while (text.charCodeAt(place) !== CLOSE_BRACKET) {
    const end = skipValue(text, place)
    elements.push({ start: place, end })
    place = skipBlanks(text, end)
    if (text.charCodeAt(place) === COMMA) place = skipBlanks(text, place + 1)
  }
  return elements
}

/** The text of an object's member; of a repeated name the last one, as in `JSON.parse`. Undefined: no such member. */
export function findMember(text: string, name: string): string | undefined {
  const member = listMembers(text).findLast((one) => one.name === name)
  return member && text.slice(member.valueStart, member.valueEnd)
}

/**
 * Changes some members of an object. A text becomes the member's value, in its place or at the end; null removes the member. All else stays
 * the same, byte for byte.
 */
export function editMembers(text: string, edits: Readonly<Record<string, string | null>>): string {
  const members = listMembers(text)
  const isEdited = (name: string) => Object.hasOwn(edits, name)
  const known = new Set<string>()
  let isChanged = false
  let edited = ''
  /** The text between the last kept member and the next one. */
  let gap: string | null = null
  for (const [index, { name, start, valueStart, valueEnd }] of members.entries()) {
    const value = isEdited(name) ? (edits[name] ?? null) : text.slice(valueStart, valueEnd)
    if (isEdited(name)) {
      known.add(name)
      isChanged = true
    }
    if (value === null) continue
    edited += (gap ?? '') + text.slice(start, valueStart) + value
    const next = members[index + 1]
    gap = next ? text.slice(valueEnd, next.start) : ','
  }
  for (const name of Object.keys(edits)) {
    if (edits[name] === null || known.has(name)) continue
    isChanged = true
    edited += `${gap === null ? '' : ','}${JSON.stringify(name)}:${edits[name]}`
    gap = ','
  }
  if (!isChanged) return text
  const open = skipBlanks(text, 0) + 1
  return text.slice(0, members[0]?.start ?? open) + edited + text.slice(members.at(-1)?.valueEnd ?? open)
}

/** JSON text on one line. Strings contain no raw line breaks, so all line breaks are only white space. */
export function toOneLine(text: string): string {
  if (!/[\r\n]/.test(text)) return text
  // Not with `replace`, which takes 80 ns for each: a text of only line breaks would block the process for seconds.
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] === LINE_FEED || bytes[at] === CARRIAGE_RETURN) bytes[at] = SPACE
  }
  return bytes.toString()
}

/** The number of members of all objects in a text, with repeated names. */
export function countMembers(text: string): number {
  let count = 0
  for (let place = 0; place < text.length; ) {
    const code = text.charCodeAt(place)
    if (code <= SPACE) place = skipBlanks(text, place + 1)
    else if (code === QUOTE) place = skipString(text, place)
    else {
      if (code === COLON) count++
      place++
    }
  }
  return count
}

/** The path to the first member whose name is already in its object; null: there is none. */
export function findRepeatedName(text: string, at = 0): (string | number)[] | null {
  const start = skipBlanks(text, at)
  const first = text.charCodeAt(start)
  if (first === OPEN_BRACKET) {
    for (const [index, element] of listElements(text, start).entries()) {
      const path = findRepeatedName(text, element.start)
      if (path) return [index, ...path]
    }
  } else if (first === OPEN_BRACE) {
    const names = new Set<string>()
    for (const { name, valueStart } of listMembers(text, start)) {
      if (names.has(name)) return [name]
      names.add(name)
      const path = findRepeatedName(text, valueStart)
      if (path) return [name, ...path]
    }
  }
  return null
}
