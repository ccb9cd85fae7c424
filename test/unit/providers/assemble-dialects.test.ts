import fc from 'fast-check'
import { ChatCompletionStream } from 'openai/lib/ChatCompletionStream'
import { describe, expect, test } from 'vitest'
import { listChatChunks } from '../../../api/openai/replay-chat.ts'
import type { JsonObject, JsonValue } from '../../../lib/json.ts'
import { createChatAssembler } from '../../../providers/assemble.ts'

const chunk = (delta: JsonObject, finish: string | null = null, members: JsonObject = {}): JsonObject => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 5,
  model: 'm',
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...members,
})
const calls = (...items: JsonObject[]) => chunk({ tool_calls: items })
const DONE = chunk({}, 'tool_calls')

/** What is kept, and what a client sees while the chunks come. */
function assemble(chunks: JsonObject[]): { kept: JsonObject; shown: JsonObject[] } {
  const assembler = createChatAssembler()
  const shown = chunks.map((one) => assembler.add(one))
  return { kept: assembler.build()!, shown }
}

/** What OpenAI's own package builds from the chunks. */
async function readStrictly(chunks: Iterable<JsonObject>): Promise<JsonObject> {
  const lines = [...chunks].map((one) => `${JSON.stringify(one)}\n`).join('')
  const stream = ChatCompletionStream.fromReadableStream(new Blob([lines]).stream())
  return JSON.parse(JSON.stringify(await stream.finalChatCompletion())) as JsonObject
}

function messageOf(completion: JsonObject): JsonObject {
  const [choice] = completion.choices as { message: JsonObject }[]
  const { parsed: _parsed, refusal: _refusal, ...message } = choice!.message
  const { tool_calls: tools } = message
  if (!Array.isArray(tools)) return message
  const bare = (tools as { function: JsonObject }[]).map((call) => {
    const { parsed_arguments: _arguments, ...called } = call.function
    return { ...call, function: called }
  })
  return { ...message, tool_calls: bare as JsonValue[] }
}

const CALC = { id: 'call_1', type: 'function', function: { name: 'calc', arguments: '{"x":1}' } }
const TWO = [CALC, { id: 'call_2', type: 'function', function: { name: 'sum', arguments: '{"y":2}' } }]
const opening = (call: typeof CALC, text: string, members: JsonObject = {}) => ({
  ...call,
  function: { ...call.function, arguments: text },
  ...members,
})
const rest = (text: string, members: JsonObject = {}) => ({ function: { arguments: text }, ...members })

/** One message in the form of each dialect. */
const SAME: [dialect: string, chunks: JsonObject[]][] = [
  [
    'OpenAI',
    [
      calls({ index: 0, ...opening(TWO[0]!, '') }),
      calls({ index: 0, ...rest('{"x"') }),
      calls({ index: 0, ...rest(':1}') }),
      calls({ index: 1, ...opening(TWO[1]!, '{"y"') }),
      calls({ index: 1, ...rest(':2}') }),
    ],
  ],
  [
    'DashScope: empty strings in what goes on',
    [
      calls({ index: 0, ...opening(TWO[0]!, '{"x"') }),
      calls({ index: 0, id: '', type: '', function: { name: '', arguments: ':1}' } }),
      calls({ index: 1, ...opening(TWO[1]!, '{"y"') }),
      calls({ index: 1, id: '', type: '', function: { name: '', arguments: ':2}' } }),
    ],
  ],
  ['Ollama: every call at index 0', [calls({ index: 0, ...TWO[0]! }), calls({ index: 0, ...TWO[1]! })]],
  [
    'every call at index 0, in pieces',
    [
      calls({ index: 0, ...opening(TWO[0]!, '{"x"') }),
      calls({ index: 0, ...rest(':1}') }),
      calls({ index: 0, ...opening(TWO[1]!, '{"y"') }),
      calls({ index: 0, ...rest(':2}') }),
    ],
  ],
  ['Gemini: no index', [calls(TWO[0]!), calls(TWO[1]!)]],
  ['no index, all in one chunk', [calls(...TWO)]],
  [
    'no index, in pieces',
    [
      calls(opening(TWO[0]!, '{"x"')),
      calls(rest(':1}')),
      calls(opening(TWO[1]!, '{"y"')),
      calls(rest(':2}')),
    ],
  ],
  [
    'the id, type and name again with every piece',
    [
      calls({ index: 0, ...opening(TWO[0]!, '{"x"') }),
      calls({ index: 0, ...opening(TWO[0]!, ':1}') }),
      calls({ index: 1, ...opening(TWO[1]!, '{"y"') }),
      calls({ index: 1, ...opening(TWO[1]!, ':2}') }),
    ],
  ],
  [
    'calls counted from 1, and interleaved',
    [
      calls({ index: 1, ...opening(TWO[0]!, '') }, { index: 2, ...opening(TWO[1]!, '') }),
      calls({ index: 2, ...rest('{"y"') }),
      calls({ index: 1, ...rest('{"x":1}') }),
      calls({ index: 2, ...rest(':2}') }),
    ],
  ],
  [
    'arguments as an object, no type',
    TWO.map(({ type: _type, ...call }, index) =>
      calls({
        index,
        ...call,
        function: { ...call.function, arguments: JSON.parse(call.function.arguments) },
      }),
    ),
  ],
  [
    'the whole message again at the end (MiniMax)',
    [
      calls({ index: 0, ...TWO[0]! }, { index: 1, ...TWO[1]! }),
      chunk({}, null, {
        object: 'chat.completion',
        choices: [{ index: 0, message: { role: 'assistant', content: null, tool_calls: TWO } }],
      }),
    ],
  ],
  [
    'the calls again at the end',
    [calls({ index: 0, ...TWO[0]! }), calls({ index: 1, ...TWO[1]! }), calls(...TWO)],
  ],
]

describe.each(SAME)('two calls of tools: %s', (_dialect, chunks) => {
  const stream = [chunk({ role: 'assistant', content: null }), ...chunks, DONE]

  test('become the same message for the store, for a strict client, and replayed', async () => {
    const { kept, shown } = assemble(stream)
    const expected = { role: 'assistant', content: null, tool_calls: TWO }
    expect(messageOf(kept)).toEqual(expected)
    expect(messageOf(await readStrictly(shown))).toEqual(expected)
    expect(messageOf(await readStrictly(listChatChunks(kept, false)))).toEqual(expected)
    expect(messageOf(assemble(shown).kept)).toEqual(expected)
  })
})

test('calls without any id are distinguished by their names, or by arguments that are complete', () => {
  const call = (name: string, text: string) => ({ index: 0, function: { name, arguments: text } })
  const { kept } = assemble([calls(call('a', '{"q":"}"}')), calls(call('a', '{}')), calls(call('b', '{}'))])
  expect(messageOf(kept).tool_calls).toEqual([
    { type: 'function', function: { name: 'a', arguments: '{"q":"}"}' } },
    { type: 'function', function: { name: 'a', arguments: '{}' } },
    { type: 'function', function: { name: 'b', arguments: '{}' } },
  ])
})

test('a name that comes before its id, and a name that is repeated while arguments come, are one call', () => {
  const { kept } = assemble([
    calls({ index: 0, function: { name: 'calc' } }),
    calls({ index: 0, id: 'call_1', type: 'function', function: { arguments: '{"x":' } }),
    calls({ index: 0, function: { name: 'calc', arguments: '1}' } }),
  ])
  expect(messageOf(kept).tool_calls).toEqual([CALC])
})

test('a head that is given stays, for the store and for a strict client', async () => {
  const { kept, shown } = assemble([
    { id: '', model: '', created: 0, object: '', choices: [], prompt_filter_results: [{ prompt_index: 0 }] },
    chunk({ role: 'assistant', content: 'Hel' }),
    chunk({ content: 'lo' }, 'stop', { created: 6 }),
    {
      id: '',
      object: '',
      model: '',
      created: 0,
      choices: [{ index: 0, finish_reason: null, content_filter_offsets: { check_offset: 44 } }],
    },
  ])
  const expected = { id: 'chatcmpl-1', created: 5, model: 'm' }
  expect(kept).toMatchObject({ ...expected, prompt_filter_results: [{ prompt_index: 0 }] })
  expect(kept.choices).toMatchObject([
    { message: { content: 'Hello' }, finish_reason: 'stop', content_filter_offsets: { check_offset: 44 } },
  ])
  expect(await readStrictly(shown.slice(1))).toMatchObject(expected)
})

const think = (text: string) => ({ type: 'thinking', thinking: [{ type: 'text', text }] })

test.each<[string, JsonValue[], JsonValue]>([
  [
    'parts, then a text',
    [[think('let ')], [think('me')], 'Hel', 'lo'],
    [think('let me'), { type: 'text', text: 'Hello' }],
  ],
  [
    'a text, then parts',
    ['Hel', [{ type: 'text', text: 'lo' }], [think('hm')]],
    [{ type: 'text', text: 'Hello' }, think('hm')],
  ],
  [
    'both in one list',
    [[think('a'), { type: 'text', text: 'Hello' }]],
    [think('a'), { type: 'text', text: 'Hello' }],
  ],
  ['parts of text alone', [[{ type: 'text', text: 'Hel' }], 'lo', [{ type: 'text', text: '!' }]], 'Hello!'],
  [
    'a reference between',
    ['a', [{ type: 'reference', reference_ids: [1] }], 'b'],
    [
      { type: 'text', text: 'a' },
      { type: 'reference', reference_ids: [1] },
      { type: 'text', text: 'b' },
    ],
  ],
])('content as %s', (_title, pieces, expected) => {
  const { kept, shown } = assemble([...pieces.map((content) => chunk({ content })), chunk({}, 'stop')])
  expect(messageOf(kept).content).toEqual(expected)
  expect(messageOf(assemble(shown).kept).content).toEqual(expected)
  expect(messageOf(assemble([...listChatChunks(kept, false)]).kept).content).toEqual(expected)
})

test('names and values that are repeated are not appended, unknown members stay, text goes on', () => {
  const detail = (members: JsonObject) => ({
    reasoning_details: [{ type: 'reasoning.text', index: 0, format: 'f', ...members }],
  })
  const { kept, shown } = assemble([
    chunk({ role: 'assistant', content: '', sender: 'a', status: 'open', ...detail({ text: 'let ' }) }),
    chunk({ role: 'assistant', reasoning: 'th', sender: 'a', ...detail({ text: 'me' }) }),
    chunk({ role: '', reasoning: 'ink', status: 'done', ...detail({ text: '', signature: 's' }) }),
    chunk({ annotations: [{ type: 'url_citation', url: 'u' }] }, null, {
      citations: ['u'],
      x_groq: { id: 'g' },
    }),
    chunk({
      annotations: [{ type: 'url_citation', url: 'u' }],
      audio: { id: 'au', data: 'AQ==', transcript: 'o' },
    }),
    chunk({ audio: { data: 'Ag==', transcript: 'k', expires_at: 9 }, content: 'x' }, 'stop', {
      citations: ['u', 'v'],
      x_groq: { usage: { total_tokens: 1 } },
      usage: { total_tokens: 3, prompt_tokens: 2 },
    }),
    { id: 'chatcmpl-1', choices: [], usage: { total_tokens: 0 } },
  ])
  expect(messageOf(kept)).toEqual({
    role: 'assistant',
    content: 'x',
    sender: 'a',
    status: 'done',
    reasoning: 'think',
    reasoning_details: [{ type: 'reasoning.text', index: 0, format: 'f', text: 'let me', signature: 's' }],
    annotations: [{ type: 'url_citation', url: 'u' }],
    audio: { id: 'au', data: 'AQI=', transcript: 'ok', expires_at: 9 },
  })
  expect(kept).toMatchObject({
    citations: ['u', 'v'],
    x_groq: { id: 'g', usage: { total_tokens: 1 } },
    usage: { total_tokens: 3, prompt_tokens: 2 },
  })
  const roles = shown.flatMap(({ choices }) => choices as { delta: JsonObject }[])
  expect(roles.map(({ delta }) => delta.role)).toEqual(['assistant', ...Array(5).fill(undefined)])
})

test('a chunk that follows OpenAI’s rules is shown unchanged', () => {
  const chunks = [
    chunk({ role: 'assistant', content: '' }),
    chunk({ content: 'a', x_unknown: { b: 0 } }),
    calls({ index: 0, ...opening(CALC, '') }),
    calls({ index: 0, ...rest('{}') }),
    chunk({}, 'stop', { system_fingerprint: 'fp' }),
  ]
  const { shown } = assemble(chunks)
  for (const [at, one] of chunks.entries()) expect(shown[at]).toBe(one)
})

test('any way of cutting a message into deltas gives the same message', async () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
  const message = fc.record({
    content: text,
    reasoning_content: text,
    calls: fc.array(fc.record({ name: fc.constantFrom('a', 'b'), argument: text }), { maxLength: 3 }),
  })
  const styles = fc.constantFrom('openai', 'empty', 'zero', 'none', 'again')
  const cutAt = (whole: string, size: number) => whole.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? []
  await fc.assert(
    fc.asyncProperty(message, styles, fc.integer({ min: 1, max: 7 }), async (given, style, size) => {
      const tools = given.calls.map(({ name, argument }, at) => ({
        id: `call_${at}`,
        type: 'function',
        function: { name, arguments: JSON.stringify({ argument }) },
      }))
      const stream = [
        chunk({ role: 'assistant' }),
        ...cutAt(given.reasoning_content, size).map((reasoning_content) => chunk({ reasoning_content })),
        ...cutAt(given.content, size).map((content) =>
          chunk({ content: style === 'none' ? [{ type: 'text', text: content }] : content }),
        ),
        ...tools.flatMap((tool, at) =>
          cutAt(tool.function.arguments, size).map((piece, nth) => {
            const index = style === 'none' ? {} : { index: style === 'zero' ? 0 : at }
            if (nth === 0 || style === 'again') return calls({ ...index, ...opening(tool, piece) })
            const empty = style === 'empty' ? { id: '', type: '' } : {}
            return calls({ ...index, ...empty, ...rest(piece) })
          }),
        ),
        chunk({}, 'stop'),
      ]
      const { kept, shown } = assemble(stream)
      const expected = {
        role: 'assistant',
        content: given.content,
        reasoning_content: given.reasoning_content,
        ...(tools.length > 0 ? { tool_calls: tools } : {}),
      }
      expect(messageOf(kept)).toEqual(expected)
      expect(messageOf(assemble([...listChatChunks(kept, false)]).kept)).toEqual(expected)
      const { reasoning_content: _last, ...strict } = messageOf(await readStrictly(shown))
      const { reasoning_content: _whole, ...said } = expected
      expect(strict).toEqual(said)
    }),
    { numRuns: 60 },
  )
})

test('takes time in proportion to the input: 80,000 deltas in seconds', () => {
  const assembler = createChatAssembler()
  const before = process.cpuUsage()
  for (let at = 0; at < 40_000; at += 1) {
    assembler.add(
      calls({ index: at % 500, ...(at < 500 ? { id: `call_${at}` } : {}), ...rest('"0123456789abcdef') }),
    )
    assembler.add(
      chunk({
        reasoning_details: [{ type: 'reasoning.text', index: at, text: 'x' }],
        audio: { data: 'AQ==' },
      }),
    )
  }
  const [choice] = assembler.build()!.choices as { message: { tool_calls: JsonObject[] } }[]
  expect(choice!.message.tool_calls).toHaveLength(500)
  // A quarter of a second of CPU on a usual machine; a square of it would be minutes.
  expect(process.cpuUsage(before).user / 1000).toBeLessThan(6000)
})
