import type { ServerResponse } from 'node:http'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { ErrorAnswer } from './errors.ts'
import type { StreamPiece } from './events.ts'
import { retryHeaders } from './limit-headers.ts'
import type { HeaderStyle } from './limits-like.ts'

/** Sends the answer of one call. Headers are fixed at admission. It has one timer at a time, and cleans up when the connection closes. */
export type Reply = {
  /** Runs the action after a delay, at once for 0; never after the client has disconnected. */
  later(milliseconds: number, action: () => void): void
  json(status: number, text: string): void
  /** Sends bytes; `end` replaces the regular end of the answer. */
  bytes(contentType: string, content: Buffer, end?: () => void): void
  /** Sends an error. `style`: the provider whose headers name the wait. Default OpenAI's. */
  error(answer: ErrorAnswer, style?: HeaderStyle): void
  /** Sends pieces one by one, each `pace(piece)` milliseconds after the previous one; then `end`, or the regular end. */
  pieces(
    contentType: string,
    pieces: StreamPiece[],
    pace: (piece: StreamPiece) => number,
    end?: () => void,
  ): void
  /** Repeats a text until `bytes` bytes are sent, no faster than the client reads. */
  flood(opening: string, filling: string, bytes: number, closing: string): void
  /** Repeats a text every `ms` milliseconds until the client disconnects; for 0, as fast as the client reads. */
  repeat(contentType: string, texts: { opening: string; again: string }, ms: number): void
  /** Drops the connection with a TCP reset. */
  reset(): void
}

/** Creates the reply to a request. */
export function createReply(
  response: ServerResponse,
  headers: readonly string[],
  say: (status: number, error: JsonObject) => { status: number; body: JsonValue } = (status, error) => ({
    status,
    body: { error },
  }),
): Reply {
  let timer: NodeJS.Timeout | undefined
  response.on('close', () => clearTimeout(timer))

  function later(milliseconds: number, action: () => void): void {
    if (response.destroyed) return
    if (milliseconds <= 0) action()
    else timer = setTimeout(action, milliseconds)
  }

  function json(status: number, text: string, extra: readonly string[] = []): void {
    const length = String(Buffer.byteLength(text))
    response.writeHead(status, [
      ...headers,
      ...extra,
      'content-type',
      'application/json',
      'content-length',
      length,
    ])
    response.end(text)
  }

  return {
    later,
    json,
    bytes(contentType, content, end) {
      const length = end ? [] : ['content-length', String(content.length)]
      response.writeHead(200, [...headers, 'content-type', contentType, ...length])
      if (end) response.write(content, end)
      else response.end(content)
    },
    error({ status, error, retryAfterMs }, style = 'openai') {
      const extra = retryAfterMs === undefined ? [] : retryHeaders(style, retryAfterMs)
      const said = say(status, error)
      json(said.status, JSON.stringify(said.body), extra)
    },
    pieces(contentType, pieces, pace, end) {
      response.writeHead(200, [...headers, 'content-type', contentType])
      function send(from: number): void {
        // Sends pieces without a pause between them in one write.
        let text = ''
        let next = from
        do {
          text += pieces[next]?.text ?? ''
          next += 1
        } while (next < pieces.length && pace(pieces[next]!) <= 0)
        if (next < pieces.length) {
          response.write(text)
          later(pace(pieces[next]!), () => send(next))
        } else if (end) response.write(text, end)
        else response.end(text)
      }
      send(0)
    },
    flood(opening, filling, bytes, closing) {
      response.writeHead(200, [...headers, 'content-type', 'application/json'])
      response.write(opening)
      let left = bytes
      function pour(): void {
        while (left > 0 && !response.destroyed) {
          left -= filling.length
          if (!response.write(filling)) {
            response.once('drain', pour)
            return
          }
        }
        response.end(closing)
      }
      pour()
    },
    repeat(contentType, { opening, again }, ms) {
      response.writeHead(200, [...headers, 'content-type', contentType])
      response.write(opening)
      function pour(): void {
        if (response.destroyed) return
        const isRead = response.write(again)
        if (ms > 0) later(ms, pour)
        else if (isRead) setImmediate(pour)
        else response.once('drain', pour)
      }
      pour()
    },
    reset() {
      response.socket?.resetAndDestroy()
    },
  }
}
