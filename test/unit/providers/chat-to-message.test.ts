import { BetaMessageStream } from '@anthropic-ai/sdk/lib/BetaMessageStream'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { createChatAssembler } from '../../../providers/assemble.ts'
import { createMessageEvents, toMessage } from '../../../providers/chat-to-message-events.ts'

const ASKED: JsonObject = { model: 'm', max_tokens: 9, messages: [], stream: true }
const USAGE = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 }
const chunk = (delta: JsonObject, finish: string | null = null): JsonObject => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [{ index: 0, delta, finish_reason: finish }],
})
const call = (index: number, text: string, named = true): JsonObject => ({
  index,
  ...(named ? { id: `call_${index}`, type: 'function' } : {}),
  function: { ...(named ? { name: `f${index}` } : {}), arguments: text },
})
const calls = (...tools: JsonObject[]) => chunk({ tool_calls: tools })

/** The events of a streamed chat, the message that is kept, and the completion, as the adapters make them. */
function convert(chunks: JsonObject[], finish = 'stop') {
  const events: JsonObject[] = []
  const assembler = createChatAssembler()
  const converter = createMessageEvents(ASKED, (event) => events.push(structuredClone(event)))
  for (const one of [...chunks, chunk({}, finish)]) converter.add(assembler.add(one))
  const completion = { ...assembler.build()!, usage: USAGE }
  return { events, kept: JSON.parse(JSON.stringify(converter.end(completion))) as JsonObject, completion }
}

/** What Anthropic's own package builds from the events. */
async function readByPackage(events: JsonObject[]): Promise<JsonObject> {
  const lines = events.map((event) => `${JSON.stringify(event)}\n`).join('')
  const stream = BetaMessageStream.fromReadableStream(new Blob([lines]).stream())
  const { content, stop_reason } = JSON.parse(JSON.stringify(await stream.finalMessage())) as JsonObject
  return { content: (content as JsonObject[]).map(({ parsed: _, ...block }) => block), stop_reason }
}

/** Each block begins, grows and stops before the next one begins. */
function expectOneOpen(events: JsonObject[]): void {
  let open: unknown = null
  for (const { type, index } of events) {
    if (type === 'content_block_start') expect(open).toBeNull()
    if (type === 'content_block_delta' || type === 'content_block_stop') expect(index).toBe(open)
    if (type === 'content_block_start') open = index
    if (type === 'content_block_stop') open = null
  }
}

const tool = (index: number, input: JsonObject) => ({
  type: 'tool_use',
  id: `call_${index}`,
  name: `f${index}`,
  input,
})
const text = (said: string) => ({ type: 'text', text: said })
const thought = (said: string) => ({ type: 'thinking', thinking: said, signature: '' })

const TABLE: [what: string, chunks: JsonObject[], content: JsonObject[], reason: string][] = [
  ['text', [chunk({ role: 'assistant', content: 'a' }), chunk({ content: 'b' })], [text('ab')], 'end_turn'],
  [
    'thoughts, then text',
    [chunk({ reasoning: 'a' }), chunk({ reasoning: 'b' }), chunk({ content: 'c' })],
    [thought('ab'), text('c')],
    'end_turn',
  ],
  [
    "Mistral's parts",
    [
      chunk({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'a' }] }] }),
      chunk({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'b' }] }] }),
      chunk({ content: 'c' }),
    ],
    [thought('ab'), text('c')],
    'end_turn',
  ],
  ['a refusal', [chunk({ refusal: 'no' }), chunk({ refusal: ' way' })], [text('no way')], 'end_turn'],
  [
    'a call that ends with stop',
    [calls(call(0, '{"x":')), calls(call(0, '1}', false))],
    [tool(0, { x: 1 })],
    'tool_use',
  ],
  [
    'two calls, one after the other',
    [calls(call(0, '{"x":1}')), calls(call(1, '{"y":2}'))],
    [tool(0, { x: 1 }), tool(1, { y: 2 })],
    'tool_use',
  ],
  [
    'two calls at once',
    [
      calls(call(0, ''), call(1, '')),
      calls(call(1, '{"y"', false)),
      calls(call(0, '{"x":1}', false)),
      calls(call(1, ':2}', false)),
    ],
    [tool(0, { x: 1 }), tool(1, { y: 2 })],
    'tool_use',
  ],
  [
    'words between the pieces of a call',
    [calls(call(0, '{"x":')), chunk({ content: 'hm' }), calls(call(0, '1}', false))],
    [tool(0, { x: 1 }), text('hm')],
    'tool_use',
  ],
  [
    'a call without parameters, and another',
    [calls(call(0, '')), calls(call(1, '{}'))],
    [tool(0, {}), tool(1, {})],
    'tool_use',
  ],
  [
    'blanks behind a call',
    [calls(call(0, '{"x":1}')), calls(call(1, '{}')), calls(call(0, ' ', false))],
    [tool(0, { x: 1 }), tool(1, {})],
    'tool_use',
  ],
]

describe.each(TABLE)('a streamed chat with %s', (_what, chunks, content, reason) => {
  test('is the same message kept, read by the package of its client, and in one piece', async () => {
    const { events, kept, completion } = convert(chunks)
    expect(kept).toMatchObject({ content, stop_reason: reason })
    expect(await readByPackage(events)).toEqual({ content, stop_reason: reason })
    expectOneOpen(events)
    const whole = toMessage(completion, ASKED).content as JsonObject[]
    expect(whole.map((block) => JSON.stringify(block)).sort()).toEqual(
      content.map((block) => JSON.stringify(block)).sort(),
    )
  })
})

test('calls whose pieces come in any order are whole', async () => {
  const inputs = [{ a: 'x'.repeat(9) }, { b: [1, { c: '}"' }] }, { d: {} }]
  const order = fc.array(fc.record({ at: fc.nat(2), size: fc.integer({ min: 1, max: 9 }) }), {
    maxLength: 40,
  })
  await fc.assert(
    fc.asyncProperty(order, async (steps) => {
      const left = inputs.map((input) => JSON.stringify(input))
      const chunks = [calls(...inputs.map((_, index) => call(index, '')))]
      const push = (at: number, size: number) => {
        if (left[at] !== '') chunks.push(calls(call(at, left[at]!.slice(0, size), false)))
        left[at] = left[at]!.slice(size)
      }
      for (const { at, size } of steps) push(at, size)
      for (const at of [2, 0, 1]) push(at, 1e3)
      const { events, kept } = convert(chunks, 'tool_calls')
      const content = inputs.map((input, index) => tool(index, input))
      expect(kept.content).toEqual(content)
      expect(await readByPackage(events)).toEqual({ content, stop_reason: 'tool_use' })
      expectOneOpen(events)
    }),
    { numRuns: 60 },
  )
})

test('calls without ids get different ones, the same for a client and for what is kept', () => {
  const bare = (index: number) => ({ index, function: { name: `f${index}`, arguments: '{}' } })
  const { events, kept } = convert([calls(bare(0)), calls(bare(1))], 'tool_calls')
  const ids = (kept.content as JsonObject[]).map(({ id }) => id)
  expect(new Set(ids).size).toBe(2)
  for (const id of ids) expect(id).toMatch(/^toolu_[A-Za-z0-9_-]+$/)
  const told = events.filter(({ type }) => type === 'content_block_start')
  expect(told.map(({ content_block: block }) => (block as JsonObject).id)).toEqual(ids)
})

test.each<[usage: JsonObject, expected: JsonObject]>([
  [USAGE, { input_tokens: 12, cache_read_input_tokens: 0, output_tokens: 5 }],
  [
    { ...USAGE, prompt_tokens_details: { cached_tokens: 8 } },
    { input_tokens: 4, cache_read_input_tokens: 8, output_tokens: 5 },
  ],
  [
    { ...USAGE, prompt_cache_hit_tokens: 8 },
    { input_tokens: 4, cache_read_input_tokens: 8, output_tokens: 5 },
  ],
  [
    { prompt_tokens: 12, completion_tokens: 2, total_tokens: 17 },
    { input_tokens: 12, output_tokens: 5 },
  ],
])('the usage %j is reported as %j', (usage, expected) => {
  const message = { role: 'assistant', content: 'a' }
  const completion = { id: 'c', model: 'm', choices: [{ index: 0, message, finish_reason: 'stop' }], usage }
  expect(toMessage(completion, ASKED).usage).toMatchObject(expected)
})

test('the calls of a whole answer are distinguished by their place, with any index', () => {
  const tools = [call(0, '{"x":1}'), { ...call(1, '{"y":2}'), index: 0 }]
  const message = { role: 'assistant', content: null, tool_calls: tools }
  const completion = { id: 'c', model: 'm', choices: [{ index: 0, message, finish_reason: 'tool_calls' }] }
  expect(toMessage(completion, ASKED).content).toEqual([tool(0, { x: 1 }), tool(1, { y: 2 })])
})

test.each<[input: string, expected: JsonObject]>([
  ['3', { arguments: 3 }],
  ['null', { arguments: null }],
  ['"a"', { arguments: 'a' }],
  ['[1]', { arguments: [1] }],
  ['{"a"', {}],
  ['no', { INVALID_JSON: 'no' }],
])('the input %s of a call is kept as %j', (input, expected) => {
  expect(convert([calls(call(0, input))], 'tool_calls').kept.content).toEqual([tool(0, expected)])
})

test('content after a call without parameters comes before the end of the stream', () => {
  const events: JsonObject[] = []
  const converter = createMessageEvents(ASKED, (event) => events.push(event))
  for (const one of [calls(call(0, '')), calls(call(1, '{}')), chunk({ content: 'hm' })]) converter.add(one)
  const begun = events.filter(({ type }) => type === 'content_block_start')
  expect(begun.map(({ content_block: block }) => (block as JsonObject).type)).toEqual([
    'tool_use',
    'tool_use',
    'text',
  ])
})

test('calls that interleave take time in proportion to their length', () => {
  let parsed = 0
  const parse = JSON.parse
  JSON.parse = (text: string) => {
    parsed += text.length
    return parse(text)
  }
  try {
    const converter = createMessageEvents(ASKED, () => {})
    const piece = 'x'.repeat(10)
    for (const index of [0, 1]) converter.add(calls(call(index, '{"x":"')))
    for (let at = 0; at < 4000; at++) converter.add(calls(call(at % 2, piece, false)))
    for (const index of [0, 1]) converter.add(calls(call(index, '"}', false)))
    converter.end({ id: 'c', model: 'm', choices: [] })
  } finally {
    JSON.parse = parse
  }
  expect(parsed).toBeLessThan(200_000)
})

test('a call that is cut by the cap is kept as far as it came', async () => {
  const { events, kept } = convert([calls(call(0, '{"x":1,"y":"cu'))], 'length')
  expect(kept).toMatchObject({ content: [tool(0, { x: 1 })], stop_reason: 'max_tokens' })
  expect((await readByPackage(events)).content).toEqual(kept.content)
})
