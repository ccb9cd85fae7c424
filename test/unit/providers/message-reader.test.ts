import { BetaMessageStream } from '@anthropic-ai/sdk/lib/BetaMessageStream'
import { describe, expect, test } from 'vitest'
import { listMessageEvents } from '../../../api/anthropic/replay-message.ts'
import type { JsonObject, JsonValue } from '../../../lib/json.ts'
import { createMessagesReader } from '../../../providers/anthropic-stream.ts'
import { isCacheable } from '../../../providers/cacheable.ts'
import type { AnswerOutcome } from '../../../providers/classify.ts'
import { createMessageReader } from '../../../providers/message-reader.ts'
import type { StreamReader } from '../../../providers/streaming.ts'

const USAGE = { input_tokens: 9, output_tokens: 1 }
const start = (members: JsonObject = {}): JsonObject => ({
  type: 'message_start',
  message: {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude',
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: USAGE,
    ...members,
  },
})
const open = (index: number, block: JsonObject): JsonObject => ({
  type: 'content_block_start',
  index,
  content_block: block,
})
const grow = (index: number, delta: JsonObject): JsonObject => ({ type: 'content_block_delta', index, delta })
const stop = (index: number): JsonObject => ({ type: 'content_block_stop', index })
const end = (
  reason: string,
  usage: JsonObject = { output_tokens: 7 },
  members: JsonObject = {},
): JsonObject[] => [
  { type: 'message_delta', delta: { stop_reason: reason, stop_sequence: null }, usage, ...members },
  { type: 'message_stop' },
]
const text = (index: number, ...pieces: string[]): JsonObject[] => [
  open(index, { type: 'text', text: '' }),
  ...pieces.map((piece) => grow(index, { type: 'text_delta', text: piece })),
  stop(index),
]
const call = (index: number, ...pieces: string[]): JsonObject[] => [
  open(index, { type: 'tool_use', id: `toolu_${index}`, name: 'calc', input: {} }),
  ...pieces.map((piece) => grow(index, { type: 'input_json_delta', partial_json: piece })),
]

function feed(reader: StreamReader, events: Iterable<JsonObject>): AnswerOutcome | null {
  let outcome: AnswerOutcome | null = null
  for (const event of events) outcome ??= reader.take(JSON.stringify(event), String(event.type))
  return outcome ?? reader.finish()
}

/** What is kept of a stream, and what its client sees. */
function read(events: Iterable<JsonObject>): {
  kept: JsonObject
  shown: JsonObject[]
  input: number | undefined
} {
  const shown: JsonObject[] = []
  let input: number | undefined
  const reader = createMessageReader({
    onDelta: (event) => shown.push(event as JsonObject),
    onUsage: (usage) => {
      input = usage.input_tokens
    },
  })
  const outcome = feed(reader, events)
  if (!outcome?.ok) throw new Error(JSON.stringify(outcome))
  return { kept: JSON.parse(JSON.stringify(outcome.body)) as JsonObject, shown, input }
}

/** What Anthropic's own package builds from the events. */
async function readByPackage(events: Iterable<JsonObject>): Promise<JsonObject> {
  const lines = [...events].map((event) => `${JSON.stringify(event)}\n`).join('')
  const stream = BetaMessageStream.fromReadableStream(new Blob([lines]).stream())
  const { parsed_output: _output, ...message } = JSON.parse(
    JSON.stringify(await stream.finalMessage()),
  ) as JsonObject
  return {
    ...message,
    content: (message.content as JsonObject[]).map(({ parsed: _parsed, ...block }) => block),
  }
}

const STREAMS: [what: string, events: JsonObject[]][] = [
  ['text', [start(), ...text(0, 'Hel', 'lo'), ...end('end_turn')]],
  [
    'thoughts with a signature, then citations',
    [
      start(),
      open(0, { type: 'thinking', thinking: '', signature: '' }),
      grow(0, { type: 'thinking_delta', thinking: 'Hm' }),
      grow(0, { type: 'signature_delta', signature: 'c2ln' }),
      stop(0),
      open(1, { type: 'redacted_thinking', data: 'enc' }),
      stop(1),
      open(2, { type: 'text', text: '', citations: [] }),
      grow(2, { type: 'citations_delta', citation: { type: 'char_location', cited_text: 'a' } }),
      grow(2, { type: 'text_delta', text: 'cited' }),
      stop(2),
      ...end('end_turn'),
    ],
  ],
  ['a call', [start(), ...call(0, '', '{"x', '":1}'), stop(0), ...end('tool_use')]],
  [
    "a tool of Anthropic's, and a turn that pauses",
    [
      start(),
      open(0, { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: {} }),
      grow(0, { type: 'input_json_delta', partial_json: '{"query":"x"}' }),
      stop(0),
      open(1, { type: 'web_search_tool_result', tool_use_id: 'srvtoolu_1', content: [] }),
      stop(1),
      ...end('pause_turn', { output_tokens: 7, server_tool_use: { web_search_requests: 1 } }),
    ],
  ],
  [
    'what the context was cut by',
    [
      start(),
      ...text(0, 'a'),
      ...end('end_turn', { output_tokens: 7 }, { context_management: { applied_edits: [{ type: 'x' }] } }),
    ],
  ],
  [
    'another model that takes over',
    [
      start(),
      open(0, { type: 'fallback', from: { model: 'claude' }, to: { model: 'other' } }),
      stop(0),
      ...text(1, 'a'),
      ...end('end_turn'),
    ],
  ],
  [
    'a compaction',
    [
      start(),
      open(0, { type: 'compaction', content: null }),
      grow(0, { type: 'compaction_delta', content: 'all' }),
      stop(0),
      ...text(1, 'a'),
      ...end('end_turn'),
    ],
  ],
  ['a call that runs into the cap', [start(), ...call(0, '{"a":[1,2],"b":"cu'), ...end('max_tokens')]],
  ['a call that has only begun', [start(), ...call(0, '{"a'), ...end('max_tokens')]],
  [
    'a message that comes whole at its beginning',
    [start({ content: [{ type: 'text', text: 'all' }] }), ...end('end_turn')],
  ],
]

describe.each(STREAMS)('%s', (_what, events) => {
  test("is kept as Anthropic's package reads it", async () => {
    const { kept, shown } = read(events)
    expect(shown).toEqual(events)
    const { stop_details: _details, ...expected } = await readByPackage(events)
    expect(kept).toEqual({ ...expected, usage: kept.usage })
    expect((kept.usage as JsonObject).output_tokens).toBe(7)
  })

  test('is replayed as the kept message', () => {
    const { kept } = read(events)
    expect(read(listMessageEvents(kept)).kept).toEqual(kept)
  })
})

test('an input that is not JSON is kept, and bought once', () => {
  const { kept } = read([start(), ...call(0, '{"a": nonsense}'), stop(0), ...end('tool_use')])
  expect(kept.content).toMatchObject([{ name: 'calc', input: { INVALID_JSON: '{"a": nonsense}' } }])
})

test('a call that is cut is given to no later request', () => {
  const events = [start(), ...call(0, '{"a":[1,2'), ...end('max_tokens', { output_tokens: 7 })]
  expect(isCacheable('message', { max_tokens: 7 }, read(events).kept)).toBe(false)
  const whole = [start(), ...text(0, 'a'), ...end('max_tokens', { output_tokens: 7 })]
  expect(isCacheable('message', { max_tokens: 7 }, read(whole).kept)).toBe(true)
})

test('blocks that are all counted as 0 are several', () => {
  const { kept } = read([
    start(),
    ...text(0, 'one'),
    ...text(0, 'two'),
    ...call(0, '{}'),
    stop(0),
    ...end('tool_use'),
  ])
  expect(kept.content).toMatchObject([{ text: 'one' }, { text: 'two' }, { name: 'calc' }])
})

test('a block without a beginning begins with its first text, for the client too', async () => {
  const events = [start(), grow(0, { type: 'text_delta', text: 'a' }), stop(0), ...end('end_turn')]
  const { kept, shown } = read(events)
  expect(kept.content).toEqual([{ type: 'text', text: 'a' }])
  expect((await readByPackage(shown)).content).toEqual(kept.content)
})

test.each<[what: string, events: JsonObject[]]>([
  [
    'zeros in the last usage',
    [start(), ...text(0, 'a'), ...end('end_turn', { input_tokens: 0, output_tokens: 7 })],
  ],
  [
    'nulls in the last usage',
    [start(), ...text(0, 'a'), ...end('end_turn', { input_tokens: null, output_tokens: 7 })],
  ],
  [
    'zeros at first',
    [
      start({ usage: { input_tokens: 0, output_tokens: 0 } }),
      ...text(0, 'a'),
      ...end('end_turn', { input_tokens: 9, output_tokens: 7 }),
    ],
  ],
  [
    'another message_delta without a reason',
    [
      start(),
      ...text(0, 'a'),
      ...end('end_turn').slice(0, 1),
      {
        type: 'message_delta',
        delta: { stop_reason: null, stop_sequence: null },
        usage: { output_tokens: 7 },
      },
      { type: 'message_stop' },
    ],
  ],
])('%s revoke nothing', (_what, events) => {
  const { kept, input } = read(events)
  expect(kept).toMatchObject({ stop_reason: 'end_turn', usage: { input_tokens: 9, output_tokens: 7 } })
  expect(input).toBe(9)
})

test('a message that comes whole at its beginning is one for a chat too', () => {
  const shown: JsonValue[] = []
  const content = [
    { type: 'text', text: 'all' },
    { type: 'tool_use', id: 't', name: 'calc', input: { x: 1 } },
  ]
  const reader = createMessagesReader({ onDelta: (one) => shown.push(one), forwardUsage: false, created: 1 })
  const outcome = feed(reader, [start({ content }), ...end('tool_use')])
  expect(outcome).toMatchObject({
    ok: true,
    body: {
      choices: [{ message: { content: 'all', tool_calls: [{ function: { arguments: '{"x":1}' } }] } }],
    },
  })
})
