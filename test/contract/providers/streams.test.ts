import { describe, expect, test } from 'vitest'
import type { ProviderAnswer } from '../../../providers/provider.ts'
import {
  chatBody,
  collectChunks,
  joinText,
  openBench,
  readFixture,
  replay,
  replayStream,
  TOOL,
} from './fixture.ts'
import { KINDS } from './kinds.ts'

const streamed = chatBody({ stream: true })

function choicesOf(answer: ProviderAnswer): unknown {
  if (!answer.ok) throw new Error(`${answer.code}: ${answer.message}`)
  return answer.body.choices
}

describe.each(KINDS)('a stream of kind $kind', (kind) => {
  test('comes as chat completion chunks and adds up to the answer in one piece', async () => {
    const { upstream, ask } = await openBench(kind)
    const { chunks, onDelta } = collectChunks()
    replay(upstream, kind.kind, 'stream.sse')
    const answer = await ask({ body: streamed, onDelta })
    expect(joinText(chunks)).toBe('The sky is blue.')
    expect(chunks.filter((chunk) => chunk.object === 'chat.completion.chunk').length).toBeGreaterThan(2)
    expect(answer).toMatchObject({
      ok: true,
      usage: { input_tokens: 12, output_tokens: 5, total_tokens: 17 },
      body: { object: 'chat.completion', usage: { prompt_tokens: 12, completion_tokens: 5 } },
    })
    expect(choicesOf(answer)).toMatchObject([
      { message: { role: 'assistant', content: 'The sky is blue.' }, finish_reason: 'stop' },
    ])
    expect(chunks.every((chunk) => !('usage' in chunk))).toBe(true)
    expect(upstream.calls[0]?.body.stream).toBe(true)
  })

  test('ends with the usage for a client that asks for it', async () => {
    const { upstream, ask } = await openBench(kind)
    const { chunks, onDelta } = collectChunks()
    replay(upstream, kind.kind, 'stream.sse')
    const body = { ...streamed, stream_options: { include_usage: true } }
    expect(await ask({ body, onDelta })).toMatchObject({ ok: true })
    expect(chunks.at(-1)).toMatchObject({
      object: 'chat.completion.chunk',
      choices: [],
      usage: { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 },
    })
  })

  test('carries calls of tools', async () => {
    const { upstream, ask } = await openBench(kind)
    replay(upstream, kind.kind, 'stream-tool-call.sse')
    const answer = await ask({ body: { ...streamed, tools: [TOOL] } })
    const [choice] = choicesOf(answer) as {
      finish_reason: string
      message: { content: null; tool_calls: { id: string; function: { name: string; arguments: string } }[] }
    }[]
    expect(choice?.finish_reason).toBe('tool_calls')
    expect(choice?.message.content).toBeNull()
    expect(choice?.message.tool_calls).toHaveLength(1)
    const [call] = choice!.message.tool_calls
    expect(call).toMatchObject({ id: kind.callId, type: 'function', function: { name: 'get_weather' } })
    expect(JSON.parse(call!.function.arguments)).toEqual({ city: 'Oslo' })
  })

  test('that breaks off at any place is not an answer', async () => {
    const { upstream, ask } = await openBench(kind)
    const text = readFixture(kind.kind, 'stream.sse')
    const last = text.indexOf(
      kind.kind === 'anthropic' ? '"stop_reason":"end_turn"' : '"finish_reason":"stop"',
    )
    for (let length = 0; length < last; length += 97) {
      replayStream(upstream, text.slice(0, length))
      expect(await ask({ body: streamed })).toMatchObject({
        ok: false,
        class: 'retryable',
        code: 'truncated_stream',
        status: 200,
        ambiguous: true,
      })
    }
  })

  test('that breaks off after its last word is an answer', async () => {
    const { upstream, ask } = await openBench(kind)
    const text = readFixture(kind.kind, 'stream.sse')
    const end = kind.kind === 'anthropic' ? 'event: message_stop' : 'data: [DONE]'
    replayStream(upstream, text.slice(0, text.indexOf(end)))
    expect(await ask({ body: streamed })).toMatchObject({ ok: true, usage: { output_tokens: 5 } })
  })

  test('with an error in it fails with that error, and may have been paid for', async () => {
    const { upstream, ask } = await openBench(kind)
    const { chunks, onDelta } = collectChunks()
    replay(upstream, kind.kind, 'error-in-stream.sse')
    const answer = await ask({ body: streamed, onDelta })
    expect(answer).toMatchObject({ ok: false, status: 200, ambiguous: true, ...kind.errorInStream })
    expect(joinText(chunks)).toMatch(/^The /)
    expect(answer).toHaveProperty('providerError')
  })

  test('of something else is not an answer', async () => {
    const { upstream, ask } = await openBench(kind)
    replayStream(upstream, 'data: <html>\n\n')
    const expected = { ok: false, class: 'retryable', code: 'invalid_answer', ambiguous: true }
    expect(await ask({ body: streamed })).toMatchObject(expected)
  })

  test('that comes in one piece after all is accepted', async () => {
    const { upstream, ask } = await openBench(kind)
    replay(upstream, kind.kind, 'chat.json')
    expect(await ask({ body: streamed })).toMatchObject({ ok: true, usage: { total_tokens: 17 } })
  })
})
