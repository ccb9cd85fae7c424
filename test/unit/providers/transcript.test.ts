import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import type { ProviderRequest } from '../../../providers/provider.ts'
import { readTranscript } from '../../../providers/transcript.ts'

/** The result of a transcription, and what a client of a stream sees. */
async function read(
  text: string,
  { type = 'application/json', ...body }: JsonObject & { type?: string } = {},
) {
  const shown: JsonObject[] = []
  const request: ProviderRequest = {
    type: 'transcription',
    model: 'm',
    body,
    timeoutMs: 1000,
    signal: new AbortController().signal,
    onDelta: (chunk) => shown.push(chunk as JsonObject),
  }
  const headers = { get: (name: string) => (name === 'content-type' ? type : null) }
  const response = { status: 200, headers, stream: Readable.from([Buffer.from(text)]) }
  return { outcome: await readTranscript(request, response, 1e6), shown }
}

const delta = (text: string) => ({ type: 'transcript.text.delta', delta: text })
const done = { type: 'transcript.text.done', text: 'Hi you', usage: { type: 'duration', seconds: 2 } }
const encode = (...events: JsonObject[]) =>
  events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')

describe('a stream', () => {
  const events = [delta('Hi'), delta(' you'), done]

  test.each(['text/event-stream', 'TEXT/EVENT-STREAM', 'text/plain', ''])(
    'under the type "%s" is one',
    async (type) => {
      const { outcome, shown } = await read(encode(...events), { type, stream: true })
      expect(outcome).toMatchObject({ ok: true, body: { text: 'Hi you' } })
      expect(shown).toEqual(events)
    },
  )

  test('of vLLM’s chunks comes as OpenAI’s events', async () => {
    const chunk = (content: string, finish: string | null = null) => ({
      object: 'transcription.chunk',
      choices: [{ index: 0, delta: { content }, finish_reason: finish }],
    })
    const text = encode(chunk(''), chunk('Hi'), chunk(' you', 'stop'), {
      object: 'transcription.chunk',
      choices: [],
      usage: done.usage,
    })
    const { outcome, shown } = await read(`${text}data: [DONE]\n\n`, {
      type: 'text/event-stream',
      stream: true,
    })
    expect(outcome).toMatchObject({ ok: true, body: { text: 'Hi you', usage: done.usage } })
    expect(shown).toEqual(events)
    const cut = await read(encode(chunk('Hi')), { type: 'text/event-stream', stream: true })
    expect(cut.outcome).toMatchObject({ ok: false, verdict: { code: 'truncated_stream' } })
  })
})

describe('a plain text', () => {
  test.each([
    'data: is what I said',
    '{ that was a brace',
    '1\n00:00:00,000 --> 00:00:01,000\nHi',
    '<i>Hi</i>',
  ])('is what it is: %j', async (said) => {
    const { outcome } = await read(said, { type: 'text/plain', response_format: 'text' })
    expect(outcome).toMatchObject({ ok: true, body: { text: said } })
  })

  test.each<[what: string, text: string, type: string, expected: object]>([
    [
      'a page of HTML',
      '<html><body>502</body></html>',
      'text/html',
      { code: 'invalid_answer', class: 'retryable' },
    ],
    [
      'a page of HTML as a text',
      '<!DOCTYPE html><html></html>',
      'text/plain',
      { code: 'invalid_answer', class: 'retryable' },
    ],
    [
      'an error as a text',
      '{"error":{"message":"no key","code":"invalid_api_key"}}',
      'text/plain',
      { cause: 'auth', message: 'no key' },
    ],
  ])('is not a transcript if it is %s', async (_what, text, type, expected) => {
    const { outcome } = await read(text, { type, response_format: 'srt' })
    expect(outcome).toMatchObject({ ok: false, verdict: expected })
  })
})
