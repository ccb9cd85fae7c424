import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { mergeMembers } from './merge-members.ts'

/** A message's content while it grows: a text, or parts once it holds more than text. */
export type Content = { text: string; parts: JsonValue[] | null }

/**
 * Adds a piece of content, a string or a list of parts. Parts that hold only text become text. Consecutive pieces of one kind become one
 * part, as in an answer that comes whole.
 */
export function addContent(content: Content, piece: string | JsonValue[]): void {
  if (typeof piece === 'string') {
    addText(content, piece)
    return
  }
  for (const part of piece) {
    const text = textOfPart(part)
    if (text !== null) addText(content, text)
    else addPart(content, part)
  }
}

export function buildContent({ text, parts }: Content): JsonValue {
  return parts ?? text
}

/** The text of a part that holds only text; null for any other. */
export function textOfPart(part: JsonValue): string | null {
  if (typeof part === 'string') return part
  if (!isJsonObject(part) || typeof part.text !== 'string') return null
  const type = part.type ?? 'text'
  if (type !== 'text' && type !== 'output_text') return null
  return Object.keys(part).every((key) => key === 'type' || key === 'text' || key === 'index')
    ? part.text
    : null
}

function addText(content: Content, text: string): void {
  if (content.parts === null) {
    content.text += text
    return
  }
  const last = content.parts.at(-1)
  if (isJsonObject(last) && last.type === 'text' && typeof last.text === 'string') last.text += text
  else if (text !== '') content.parts.push({ type: 'text', text })
}

function addPart(content: Content, part: JsonValue): void {
  if (content.parts === null)
    content.parts = content.text === '' ? [] : [{ type: 'text', text: content.text }]
  const last = content.parts.at(-1)
  if (isJsonObject(part) && part.type === 'thinking') {
    const pieces = readThinking(part.thinking)
    if (isJsonObject(last) && last.type === 'thinking' && Array.isArray(last.thinking)) {
      const { thinking: _thinking, ...rest } = part
      addThinking(last.thinking, pieces)
      mergeMembers(last, rest)
      return
    }
    const thinking: JsonValue[] = []
    addThinking(thinking, pieces)
    content.parts.push({ ...part, thinking })
    return
  }
  if (
    isJsonObject(part) &&
    isJsonObject(last) &&
    typeof part.index === 'number' &&
    part.index === last.index
  ) {
    mergeMembers(last, part)
    return
  }
  content.parts.push(isJsonObject(part) ? { ...part } : part)
}

/** Mistral's thinking is a list of parts. Some compatible servers send the text itself. */
function readThinking(thinking: JsonValue | undefined): JsonValue[] {
  if (Array.isArray(thinking)) return thinking
  return typeof thinking === 'string' ? [{ type: 'text', text: thinking }] : []
}

function addThinking(known: JsonValue[], pieces: JsonValue[]): void {
  for (const piece of pieces) {
    const text = textOfPart(piece)
    const last: JsonValue | undefined = known.at(-1)
    if (text !== null && isJsonObject(last) && typeof last.text === 'string') last.text += text
    else known.push(isJsonObject(piece) ? ({ ...piece } as JsonObject) : piece)
  }
}
