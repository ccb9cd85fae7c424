import type { JsonObject, JsonValue } from './json.ts'

/** Characters that are parsed at a time. This takes a few ms for any content. */
const SLICE = 256 * 1024

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const SPACE = 0x20

const NO_BLANK = /[^ \t\n\r]/g

type Parse = (text: string) => unknown

type Slices = {
  text: string
  at: number
  parse: Parse
  breathe: () => Promise<void>
}

/**
 * Parses a large JSON text like `JSON.parse`, but one piece at a time: parsing three million numbers in one step blocks the event loop for
 * 200 ms. A string of any length is one piece.
 *
 * @param options.parse parses a piece: `JSON.parse` or a stricter parser
 * @param options.breathe is awaited between two pieces
 * @throws SyntaxError with the position, if the text is not JSON
 */
export async function parseJsonInSlices(
  text: string,
  { parse = JSON.parse, breathe }: { parse?: Parse; breathe: () => Promise<void> },
): Promise<JsonValue> {
  const slices: Slices = { text, at: 0, parse, breathe }
  skipBlanks(slices)
  const value = await parseValue(slices)
  skipBlanks(slices)
  if (slices.at < text.length) throw syntaxError(slices.at)
  return value
}

async function parseValue(slices: Slices): Promise<JsonValue> {
  const { text, at } = slices
  const end = findEnd(text, at, at + SLICE)
  if (end !== null) {
    slices.at = end
    return parsePiece(slices, at, end)
  }
  // Each level has scanned it again, up to the length of a piece.
  await slices.breathe()
  const first = text.charCodeAt(at)
  if (first === OPEN_BRACKET) return parseArray(slices)
  if (first === OPEN_BRACE) return parseObject(slices)
  slices.at = findEnd(text, at, text.length) ?? text.length
  return parsePiece(slices, at, slices.at)
}

/** The content of an array or object, in pieces of several members. A large member is parsed separately. */
async function parseMembers(
  slices: Slices,
  close: number,
  add: (from: number, to: number) => void,
  addLarge: () => Promise<void>,
): Promise<void> {
  const { text } = slices
  slices.at++
  skipBlanks(slices)
  if (text.charCodeAt(slices.at) === close) {
    slices.at++
    return
  }
  for (;;) {
    const from = slices.at
    const end = findMembers(text, from, from + SLICE)
    if (end === from) await addLarge()
    else {
      add(from, end)
      slices.at = end
    }
    skipBlanks(slices)
    const code = text.charCodeAt(slices.at)
    if (code !== COMMA && code !== close) throw syntaxError(slices.at)
    slices.at++
    if (code === close) return
    skipBlanks(slices)
    await slices.breathe()
  }
}

async function parseArray(slices: Slices): Promise<JsonValue[]> {
  const array: JsonValue[] = []
  await parseMembers(
    slices,
    CLOSE_BRACKET,
    (from, to) => {
      for (const one of parsePiece(slices, from, to, '[', ']') as JsonValue[]) array.push(one)
    },
    async () => {
      array.push(await parseValue(slices))
    },
  )
  return array
}

async function parseObject(slices: Slices): Promise<JsonObject> {
  const object: JsonObject = {}
  await parseMembers(
    slices,
    CLOSE_BRACE,
    (from, to) => {
      const some = parsePiece(slices, from, to, '{', '}') as JsonObject
      for (const name of Object.keys(some)) put(object, name, some[name]!)
    },
    async () => {
      const { text, at } = slices
      const nameEnd = text.charCodeAt(at) === QUOTE ? findStringEnd(text, at) : null
      if (nameEnd === null) throw syntaxError(at)
      slices.at = nameEnd
      skipBlanks(slices)
      if (text.charCodeAt(slices.at) !== COLON) throw syntaxError(slices.at)
      slices.at++
      skipBlanks(slices)
      const value = await parseValue(slices)
      // A parser that refuses some names sees each name with a value of the same kind.
      const [name] = Object.keys(parsePiece(slices, at, nameEnd, '{', ':0}') as JsonObject)
      put(object, name!, value)
    },
  )
  return object
}

function put(object: JsonObject, name: string, value: JsonValue): void {
  if (name !== '__proto__') object[name] = value
  else Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}

function parsePiece({ text, parse }: Slices, from: number, to: number, open = '', close = ''): JsonValue {
  try {
    return parse(open + text.slice(from, to) + close) as JsonValue
  } catch (error) {
    const found = error instanceof SyntaxError ? /at position (\d+)/.exec(error.message) : null
    if (found === null) throw error
    throw syntaxError(from + Math.max(0, Number(found[1]) - open.length))
  }
}

function syntaxError(position: number): SyntaxError {
  return new SyntaxError(`Unexpected token in JSON at position ${position}`)
}

/** With a regular expression, which is fast even before V8 has compiled a loop. */
function skipBlanks(slices: Slices): void {
  if (!(slices.text.charCodeAt(slices.at) <= SPACE)) return
  NO_BLANK.lastIndex = slices.at
  slices.at = NO_BLANK.test(slices.text) ? NO_BLANK.lastIndex - 1 : slices.text.length
}

/** The position after the value at `from`; null if it continues beyond `limit`. For text that is not JSON, any position. */
function findEnd(text: string, from: number, limit: number): number | null {
  let depth = 0
  for (let at = from; at < Math.min(limit, text.length); ) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      const end = findStringEnd(text, at)
      if (end === null) return null
      at = end
      if (depth === 0) return at
      continue
    }
    if (code === OPEN_BRACKET || code === OPEN_BRACE) depth++
    else if (code === CLOSE_BRACKET || code === CLOSE_BRACE) {
      if (depth === 0) return at
      if (--depth === 0) return at + 1
    } else if (depth === 0 && (code === COMMA || code === COLON || code <= SPACE)) return at
    at++
  }
  return depth === 0 && text.length <= limit ? text.length : null
}

/** The position after the last member from `from` on that ends before `limit`; `from` itself if the first one does not. */
function findMembers(text: string, from: number, limit: number): number {
  let depth = 0
  let last = from
  for (let at = from; at < Math.min(limit, text.length); ) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      at = findStringEnd(text, at) ?? text.length
      continue
    }
    if (code === OPEN_BRACKET || code === OPEN_BRACE) depth++
    else if (code === CLOSE_BRACKET || code === CLOSE_BRACE) {
      if (depth-- === 0) return at
    } else if (code === COMMA && depth === 0) last = at
    at++
  }
  return last
}

/** The position after the string whose quote is at `at`; null if it has no end. */
function findStringEnd(text: string, at: number): number | null {
  let from = at + 1
  for (;;) {
    const end = text.indexOf('"', from)
    if (end === -1) return null
    let escapes = end
    while (text.charCodeAt(escapes - 1) === BACKSLASH) escapes--
    if ((end - escapes) % 2 === 0) return end + 1
    from = end + 1
  }
}
