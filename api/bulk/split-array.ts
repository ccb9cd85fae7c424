import { createMarkRemover, createPieceBuffer, type Piece, type Splitter } from './pieces.ts'

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

/**
 * Splits a JSON array into the texts of its elements without parsing them. It tracks only strings, escapes and depth. The parser decides
 * whether an element is valid JSON, so a bad element affects no other. All bytes that it looks for are ASCII, which never occur inside a
 * multi-byte character of UTF-8.
 */
export function createArraySplitter(options: { limit: number }): Splitter {
  const element = createPieceBuffer(options.limit)
  const removeMark = createMarkRemover()
  let state: 'before' | 'inside' | 'after' | 'broken' = 'before'
  let depth = 0
  let inString = false
  let escaped = false
  /** A comma came before this element: an empty one is an error, not the end of `[]`. */
  let expectsElement = false
  /** The element has something other than white space. */
  let hasContent = false

  function* finishElement(isLast: boolean): Iterable<Piece> {
    const piece = element.take()
    if (hasContent && piece !== null) yield piece
    else if (!isLast || expectsElement) yield { kind: 'job', text: Buffer.alloc(0) }
    hasContent = false
    expectsElement = true
  }

  function* giveUp(what: string): Iterable<Piece> {
    state = 'broken'
    yield { kind: 'broken', what }
  }

  function* push(chunk: Buffer): Iterable<Piece> {
    const bytes = removeMark(chunk)
    let start = 0
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!
      if (state === 'inside') {
        if (inString) {
          if (escaped) escaped = false
          else if (byte === backslash) escaped = true
          else if (byte === quote) inString = false
          continue
        }
        if (depth === 0 && (byte === comma || byte === closeBracket)) {
          element.add(bytes.subarray(start, at))
          start = at + 1
          yield* finishElement(byte === closeBracket)
          if (byte === closeBracket) state = 'after'
          continue
        }
        if (!hasContent && !isSpace(byte)) hasContent = true
        if (byte === quote) inString = true
        else if (byte === openBrace || byte === openBracket) depth++
        else if (byte === closeBrace || byte === closeBracket) depth = Math.max(0, depth - 1)
      } else if (state === 'broken') {
        return
      } else if (!isSpace(byte)) {
        if (state === 'before' && byte === openBracket) {
          state = 'inside'
          start = at + 1
        } else {
          yield* giveUp(
            state === 'before'
              ? 'the body does not begin with "["'
              : 'something follows the end of the array',
          )
          return
        }
      }
    }
    if (state === 'inside') element.add(bytes.subarray(start))
  }

  function* end(): Iterable<Piece> {
    if (state === 'inside') yield* giveUp('the array is not closed')
    else if (state === 'before') yield* giveUp('the body is empty')
  }

  return { push, end }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}
