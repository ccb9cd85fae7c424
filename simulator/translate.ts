import { isJsonObject, type JsonObject } from '../lib/json.ts'
import type { Dialect } from './dialects/dialect.ts'
import type { StreamPiece } from './events.ts'
import type { PreparedAnswer } from './send.ts'

const DATA = 'data: '
const DONE = 'data: [DONE]\n\n'

/** Converts an answer to a dialect; null: leaves it as it is. Dialects differ only in chats and embeddings. */
export function translate(prepared: PreparedAnswer, dialect: Dialect | null): PreparedAnswer {
  const { plan, pieces, text } = prepared
  if (dialect === null || (plan.type !== 'chat' && plan.type !== 'embedding')) return prepared
  if (pieces === null) {
    const say = plan.type === 'chat' ? dialect.whole : dialect.embeddings
    return say ? { ...prepared, text: JSON.stringify(say(JSON.parse(text) as JsonObject)) } : prepared
  }
  const { contentType, lineEnd = '\n', end = DONE } = dialect
  const chunks = pieces
    .filter((piece) => piece.text !== DONE)
    .map((piece) => JSON.parse(piece.text.slice(DATA.length)) as JsonObject)
  const said = dialect.chunks?.(chunks) ?? chunks
  const written = said.map(
    (one, at): StreamPiece => ({
      text: isJsonObject(one) ? `${DATA}${JSON.stringify(one)}\n\n` : one,
      tokens: pieces[at]?.tokens ?? 0,
    }),
  )
  return {
    ...prepared,
    pieces: [...written, { text: end, tokens: 0 }].map((piece) => ({
      ...piece,
      text: piece.text.replaceAll('\n', lineEnd),
    })),
    ...(contentType === undefined ? {} : { contentType }),
  }
}
