import { readFileSync } from 'node:fs'
import { onTestFinished } from 'vitest'
import type { JsonObject, JsonValue } from '../../../lib/json.ts'
import type { ProviderAnswer, ProviderRequest } from '../../../providers/provider.ts'
import { createProviders } from '../../../providers/registry.ts'
import { startUpstream, type Upstream } from '../../helpers/upstream.ts'
import { API_KEY, type Kind } from './kinds.ts'

const FOLDER = new URL('../../fixtures/providers/', import.meta.url)

/** The time of every answer in the suite. */
export const NOW = Date.parse('2026-11-23T12:00:00Z')

export type Bench = {
  upstream: Upstream
  ask(request?: Partial<ProviderRequest>): Promise<ProviderAnswer>
}

/** The adapter that the configuration gives this kind, with a real HTTP server. Closed with the test. */
export async function openBench(kind: Kind): Promise<Bench> {
  const upstream = await startUpstream()
  onTestFinished(upstream.close)
  const settings = {
    kind: kind.kind,
    api_key: API_KEY,
    timeout: 10_000,
    ...kind.settings(new URL(upstream.url).origin),
  }
  const providers = createProviders({ config: { providers: { one: settings } }, now: () => NOW })
  onTestFinished(() => providers.close())
  return {
    upstream,
    ask: (request = {}) =>
      providers.get('one').call({
        type: 'chat',
        model: kind.model,
        body: chatBody(),
        timeoutMs: 10_000,
        signal: new AbortController().signal,
        ...request,
      }),
  }
}

/** Answers the next calls with a file of the kind: `.json` has status, headers and body, `.sse` is a stream. */
export function replay(upstream: Upstream, kind: string, file: string): void {
  const text = readFixture(kind, file)
  if (file.endsWith('.sse')) {
    replayStream(upstream, text)
    return
  }
  const { status, headers, body } = JSON.parse(text) as { status: number; headers: object; body: unknown }
  upstream.script = (_call, response) =>
    response
      .writeHead(status, { ...headers })
      .end(typeof body === 'string' ? body : JSON.stringify(body, null, 2))
}

/** Answers the next calls with this stream, and ends it as a finished server does. */
export function replayStream(upstream: Upstream, text: string): void {
  upstream.script = (_call, response) =>
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }).end(text)
}

export function readFixture(kind: string, file: string): string {
  return readFileSync(new URL(`${kind}/${file}`, FOLDER), 'utf8')
}

export const TOOL = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'The weather of a city.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}

export function chatBody(members: JsonObject = {}): JsonObject {
  return {
    model: 'alias/name',
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'What colour is the sky?' },
    ],
    ...members,
  }
}

export function collectChunks(): { chunks: JsonObject[]; onDelta: (chunk: JsonValue) => void } {
  const chunks: JsonObject[] = []
  return { chunks, onDelta: (chunk) => chunks.push(chunk as JsonObject) }
}

/** The text that a client puts together from the chunks it got. */
export function joinText(chunks: JsonObject[]): string {
  return chunks
    .flatMap((chunk) => chunk.choices as { delta: { content?: string | null } }[])
    .map((choice) => choice.delta.content ?? '')
    .join('')
}
