import type { IncomingMessage, ServerResponse } from 'node:http'
import type { JsonValue } from '../../lib/json.ts'
import { faultAnswer } from '../errors.ts'
import type { FaultBook } from '../faults.ts'
import { readKey } from '../read-key.ts'
import type { Recorder } from '../state.ts'

/** One request to a batch API. */
export type Exchange = {
  request: IncomingMessage
  response: ServerResponse
  method: string
  /** The path without prefix and query, such as `/batches/x`. */
  path: string
  query: URLSearchParams
  body: Buffer
  /** True: the connection breaks in the middle of the answer's body. */
  isCut: boolean
}

/** Sends a JSON answer. */
export function sendJson({ response }: Exchange, status: number, body: JsonValue | object): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

/** Sends an error in OpenAI's format. */
export function sendError(
  exchange: Exchange,
  status: number,
  message: string,
  code: string | null = null,
): void {
  sendJson(exchange, status, { error: { message, type: 'invalid_request_error', param: null, code } })
}

/** Sends lines of text. If `isCut`, sends half of them and breaks the connection. */
export function sendLines({ response, isCut }: Exchange, lines: string[]): void {
  const text = lines.length === 0 ? '' : `${lines.join('\n')}\n`
  response.writeHead(200, { 'content-type': 'application/octet-stream' })
  if (isCut)
    response.write(text.slice(0, Math.ceil(text.length / 2)), () => response.socket?.resetAndDestroy())
  else response.end(text)
}

/**
 * Applies a fault to a request to a batch API: an error status, no answer, or a reset before or after the work. Rules name the path,
 * such as `/v1/batches`, `/v1/files`, `/v1/files/content` or `/v1/messages/batches`.
 */
export function withFaults(
  deps: { faults: FaultBook; recorder: Recorder },
  exchange: Exchange,
  shown: string,
  handle: (exchange: Exchange) => void,
) {
  const { request, response } = exchange
  const header = request.headers['x-sim-fault']
  const fault = deps.faults.choose({
    path: `${exchange.method} ${shown}`,
    text: exchange.body.length < 4096 ? exchange.body.toString() : '',
    key: readKey(request),
    header: Array.isArray(header) ? header[0] : header,
    prompts: () => [],
  })
  if (!fault) return handle(exchange)
  deps.recorder.fault(fault.kind)
  if (/^\d+$/.test(fault.kind)) {
    const { status, error } = faultAnswer(Number(fault.kind), fault.retryAfterMs)
    return sendJson(exchange, status, { error })
  }
  switch (fault.kind) {
    case 'hang':
      return
    case 'reset_before':
      response.socket?.resetAndDestroy()
      return
    case 'reset_after':
      // The work is done, and its answer never arrives.
      response.write = () => true
      response.writeHead = () => response
      response.end = (() => {
        response.socket?.resetAndDestroy()
        return response
      }) as typeof response.end
      return handle(exchange)
    case 'truncated_stream':
      return handle({ ...exchange, isCut: true })
    case 'slow':
      setTimeout(() => handle(exchange), fault.ms)
      return
    default:
      return handle(exchange)
  }
}
