import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { JsonObject } from '../../lib/json.ts'

/** One call as the upstream saw it. */
export type UpstreamCall = {
  method: string
  path: string
  headers: IncomingMessage['headers']
  body: JsonObject
  /** The body as it came. */
  text: string
}

/** Answers one call; `respond` with an object answers 200 with it. */
export type Script = (call: UpstreamCall, response: ServerResponse) => unknown

/** A provider whose answers a test sets, byte for byte. */
export type Upstream = {
  url: string
  calls: UpstreamCall[]
  /** How the next calls are answered. */
  script: Script
  /** Resolves when the caller of a call broke it off. */
  broken(): Promise<void>
  close(): Promise<void>
}

export async function startUpstream(): Promise<Upstream> {
  const waiting: (() => void)[] = []
  let breaks = 0
  const server = createServer(async (request, response) => {
    response.on('close', () => {
      if (response.writableFinished) return
      breaks++
      for (const resolve of waiting.splice(0)) resolve()
    })
    const sent = await text(request)
    const isForm = request.headers['content-type']?.startsWith('multipart/') === true
    const body = (sent === '' || isForm ? {} : JSON.parse(sent)) as JsonObject
    const call = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body,
      text: sent,
    }
    upstream.calls.push(call)
    await upstream.script(call, response)
  })
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const upstream: Upstream = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    calls: [],
    script: (_call, response) => answer(response, 500, { error: { message: 'no script' } }),
    async broken() {
      if (breaks > 0) breaks--
      else await new Promise<void>((resolve) => waiting.push(resolve)).then(() => breaks--)
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
  return upstream
}

export function answer(response: ServerResponse, status: number, body: unknown): void {
  const content = typeof body === 'string' ? body : JSON.stringify(body)
  const type = typeof body === 'string' ? 'text/html' : 'application/json'
  response.writeHead(status, { 'content-type': type }).end(content)
}

/** Opens an event stream; `send` writes an event's data. */
export function openEvents(response: ServerResponse): { send(data: unknown): void; end(): void } {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  return {
    send: (data) =>
      void response.write(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`),
    end: () => void response.end(),
  }
}

/** A chat completion with this text, and members that no specification has. */
export function completion(content: string, message: JsonObject = {}, members: JsonObject = {}): JsonObject {
  return {
    id: 'chatcmpl-own',
    object: 'chat.completion',
    created: 1_700_000_000,
    model: 'own-model-2026',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content, ...message },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
    ...members,
  }
}

/** A chunk of that completion. */
export function chunk(delta: JsonObject, finish: string | null = null, members: JsonObject = {}): JsonObject {
  return {
    id: 'chatcmpl-own',
    object: 'chat.completion.chunk',
    created: 1_700_000_000,
    model: 'own-model-2026',
    choices: [{ index: 0, delta, finish_reason: finish }],
    ...members,
  }
}
