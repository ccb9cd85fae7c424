import type { AnswerPlan } from './answers.ts'
import { faultAnswer, flexUnavailable, quotaExceeded } from './errors.ts'
import { buildStreamError, type StreamPiece } from './events.ts'
import type { SimulatedFault } from './faults.ts'
import type { Reply } from './reply.ts'

/** An answer that is ready to send, in one piece or as a stream. */
export type PreparedAnswer = {
  text: string
  /** Replaces the text. */
  bytes?: { content: Buffer; contentType: string }
  pieces: StreamPiece[] | null
  plan: AnswerPlan
  latencyMs: number
  perTokenMs: number
  /** The content type of a stream; default `text/event-stream`. */
  contentType?: string
}

const EVENT_STREAM = 'text/event-stream; charset=utf-8'
const FLOOD_PIECE = 'x'.repeat(256 * 1024)
const DRIP_PIECES = 64

/** Sends an answer without a fault. */
export function sendAnswer(
  reply: Reply,
  { text, bytes, pieces, latencyMs, perTokenMs, contentType = EVENT_STREAM }: PreparedAnswer,
): void {
  reply.later(latencyMs, () => {
    if (pieces) reply.pieces(contentType, pieces, (piece) => piece.tokens * perTokenMs)
    else if (bytes) reply.bytes(bytes.contentType, bytes.content)
    else reply.json(200, text)
  })
}

/** Sends the answer with a fault. `hang` sends nothing until the client disconnects. */
export function sendFaulty(
  reply: Reply,
  prepared: PreparedAnswer,
  fault: SimulatedFault,
  hugeBytes: number,
): void {
  const { kind } = fault
  const { plan, pieces, text } = prepared
  const firstHalf = pieces?.slice(0, Math.ceil(pieces.length / 2)) ?? [
    { text: text.slice(0, Math.floor(text.length / 2)), tokens: 0 },
  ]
  const contentType = pieces ? EVENT_STREAM : 'application/json'
  const pace = (piece: StreamPiece) => piece.tokens * prepared.perTokenMs
  const sendOdd = (odd: string) =>
    pieces
      ? reply.pieces(EVENT_STREAM, [{ text: `data: ${odd}\n\ndata: [DONE]\n\n`, tokens: 0 }], pace)
      : reply.json(200, odd)

  if (kind === 'hang') return
  const { bytes } = prepared
  if (bytes && kind === 'reset_after') {
    const half = bytes.content.subarray(0, bytes.content.length >> 1)
    reply.later(prepared.latencyMs, () => reply.bytes(bytes.contentType, half, () => reply.reset()))
    return
  }
  reply.later(prepared.latencyMs, () => {
    if (kind === 'slow') sendAnswer(reply, { ...prepared, latencyMs: fault.ms })
    else if (kind === 'reset_before') reply.reset()
    else if (kind === 'reset_after') reply.pieces(contentType, firstHalf, pace, () => reply.reset())
    else if (kind === 'truncated_stream') reply.pieces(contentType, firstHalf, pace)
    else if (kind === 'garbage') sendOdd('<html><body>502 Bad Gateway</body></html>')
    else if (kind === 'wrong_shape') sendOdd('{"object":"thing"}')
    else if (kind === 'drip') reply.pieces(contentType, pieces ?? cutPieces(text), () => fault.ms)
    else if (kind === 'error_in_stream' && pieces) {
      reply.pieces(EVENT_STREAM, [...firstHalf, buildStreamError(plan)], pace)
    } else if (kind === 'error_in_200' || kind === 'error_in_stream') {
      reply.json(200, JSON.stringify({ error: faultAnswer(500, 0).error }))
    } else if (kind === 'huge')
      reply.flood('{"choices":[],"data":[],"filling":"', FLOOD_PIECE, hugeBytes, '"}')
    else if (kind === 'endless') reply.repeat(contentType, findMiddle(pieces, text), fault.ms)
    else if (kind === 'flex_unavailable') reply.error(flexUnavailable(fault.retryAfterMs))
    else reply.error(kind === 'quota' ? quotaExceeded() : faultAnswer(Number(kind), fault.retryAfterMs))
  })
}

/** The part that an endless answer repeats: an event with a piece of the answer, or text. */
function findMiddle(pieces: StreamPiece[] | null, text: string): { opening: string; again: string } {
  if (pieces === null) return { opening: text.slice(0, 1), again: ' '.repeat(4096) }
  const again = pieces.find(({ tokens }) => tokens > 0) ?? pieces[0]!
  return { opening: pieces[0]!.text, again: again.text }
}

function cutPieces(text: string): StreamPiece[] {
  const size = Math.max(1, Math.ceil(text.length / DRIP_PIECES))
  return Array.from({ length: Math.ceil(text.length / size) }, (_, index) => ({
    text: text.slice(index * size, (index + 1) * size),
    tokens: 0,
  }))
}
