import fc from 'fast-check'
import { expect, it } from 'vitest'
import { listChatChunks } from '../../../../api/openai/replay-chat.ts'
import type { JsonObject } from '../../../../lib/json.ts'
import { createChatAssembler } from '../../../../providers/assemble.ts'

function assemble(chunks: Iterable<JsonObject>): JsonObject | null {
  const assembler = createChatAssembler()
  for (const chunk of chunks) assembler.add(chunk)
  return assembler.build()
}

const text = fc.string({ unit: 'grapheme', maxLength: 300 })
const tool = fc.oneof(
  fc.record({
    id: fc.string(),
    type: fc.constant('function'),
    function: fc.record({ name: fc.string(), arguments: text }),
  }),
  fc.record({
    id: fc.string(),
    type: fc.constant('custom'),
    custom: fc.record({ name: fc.string(), input: text }),
  }),
)
const message = fc.record(
  {
    role: fc.constant('assistant'),
    content: fc.option(text),
    refusal: fc.option(text),
    reasoning_content: text,
    annotations: fc.array(fc.record({ type: fc.constant('url_citation'), url_citation: fc.jsonValue() })),
    audio: fc.record({ id: fc.string(), data: text }),
    tool_calls: fc.array(tool, { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ['role', 'content', 'refusal'] },
)
const token = fc.record({ token: fc.string(), logprob: fc.double({ noNaN: true }) })
const choices = fc
  .array(
    fc.record({
      message,
      logprobs: fc.option(fc.record({ content: fc.array(token), refusal: fc.constant(null) })),
      finish_reason: fc.constantFrom('stop', 'length', 'tool_calls'),
      content_filter_results: fc.record({ hate: fc.boolean() }),
    }),
    { minLength: 1, maxLength: 3 },
  )
  .map((list) => list.map((choice, index) => ({ index, ...choice })))
const body = fc.record({
  id: fc.string(),
  object: fc.constant('chat.completion'),
  created: fc.nat(),
  model: fc.string(),
  x_trace: fc.option(fc.nat()),
  choices,
  usage: fc.record({ total_tokens: fc.nat() }),
})

it('cuts a completion into chunks that add up to it again', () => {
  fc.assert(
    fc.property(body, fc.boolean(), (given, includeUsage) => {
      const whole = JSON.parse(JSON.stringify(given)) as JsonObject
      const { usage: _usage, ...rest } = whole
      const chunks = [...listChatChunks(whole, includeUsage)]
      expect(assemble(chunks)).toEqual(includeUsage ? whole : rest)
      for (const chunk of chunks) expect(JSON.stringify(chunk).isWellFormed()).toBe(true)
    }),
    { numRuns: 300 },
  )
})

it('begins each choice with its role, ends it with its reason, and cuts the text between', () => {
  const whole: JsonObject = {
    id: 'c',
    choices: [{ index: 0, message: { role: 'assistant', content: 'x'.repeat(150) }, finish_reason: 'stop' }],
  }
  const parts = [...listChatChunks(whole, false)].map((chunk) => (chunk.choices as JsonObject[])[0]!)
  expect(parts.map(({ delta, finish_reason }) => [delta, finish_reason])).toEqual([
    [{ role: 'assistant', content: '' }, null],
    [{ content: 'x'.repeat(64) }, null],
    [{ content: 'x'.repeat(64) }, null],
    [{ content: 'x'.repeat(22) }, null],
    [{}, 'stop'],
  ])
})

it('never cuts a character in two', () => {
  const content = `${'x'.repeat(63)}🏔️`
  const whole: JsonObject = { choices: [{ index: 0, message: { role: 'assistant', content } }] }
  for (const chunk of listChatChunks(whole, false)) {
    const { delta } = (chunk.choices as { delta: { content?: string } }[])[0]!
    expect((delta.content ?? '').isWellFormed()).toBe(true)
  }
})
