import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { listResponseEvents } from '../../../api/openai/replay-response.ts'
import type { JsonObject, JsonValue } from '../../../lib/json.ts'
import { createMessagesReader } from '../../../providers/anthropic-stream.ts'
import type { AnswerOutcome } from '../../../providers/classify.ts'
import { createCompletionReader } from '../../../providers/completion-reader.ts'
import { createMessageReader } from '../../../providers/message-reader.ts'
import {
  createChatReader,
  createResponseReader,
  readStream,
  type StreamReader,
} from '../../../providers/streaming.ts'

type Dialect = 'chat' | 'completion' | 'response' | 'message' | 'message as chat'

function createReader(dialect: Dialect, onDelta: (chunk: JsonValue) => void): StreamReader {
  const options = { onDelta, forwardUsage: false, created: 1 }
  if (dialect === 'chat') return createChatReader(options)
  if (dialect === 'completion') return createCompletionReader(options)
  if (dialect === 'response') return createResponseReader(options)
  return dialect === 'message' ? createMessageReader(options) : createMessagesReader(options)
}

/** The result of the bytes of a stream, and what a client sees of it. */
async function read(
  dialect: Dialect,
  text: string,
): Promise<{ outcome: AnswerOutcome; shown: JsonObject[] }> {
  const shown: JsonObject[] = []
  const outcome = await readStream({
    stream: Readable.from([Buffer.from(text)]),
    reader: createReader(dialect, (chunk) => shown.push(chunk as JsonObject)),
    maxBytes: 1e6,
    drained: undefined,
  })
  return { outcome, shown }
}

async function bodyOf(dialect: Dialect, text: string): Promise<{ body: JsonObject; shown: JsonObject[] }> {
  const { outcome, shown } = await read(dialect, text)
  if (!outcome.ok) throw new Error(JSON.stringify(outcome.verdict))
  return { body: JSON.parse(JSON.stringify(outcome.body)) as JsonObject, shown }
}

const encode = (...events: JsonObject[]): string =>
  events
    .map(
      (event) =>
        `${typeof event.type === 'string' ? `event: ${event.type}\n` : ''}data: ${JSON.stringify(event)}\n\n`,
    )
    .join('')
const DONE = 'data: [DONE]\n\n'

const chunk = (choice: JsonObject, members: JsonObject = {}): JsonObject => ({
  id: 'c1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [{ index: 0, ...choice }],
  ...members,
})
const chat = encode(
  chunk({ delta: { role: 'assistant', content: 'a' }, finish_reason: null }),
  chunk({ delta: { content: 'b' }, finish_reason: 'stop' }),
)
const completion = encode(
  chunk({ text: 'a', finish_reason: null }, { object: 'text_completion' }),
  chunk({ text: 'b', finish_reason: 'stop' }, { object: 'text_completion' }),
)
const message = encode(
  {
    type: 'message_start',
    message: {
      id: 'm',
      type: 'message',
      role: 'assistant',
      model: 'c',
      content: [],
      usage: { input_tokens: 1 },
    },
  },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'ab' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 2 } },
  { type: 'message_stop' },
)
const answer = (members: JsonObject = {}): JsonObject => ({
  id: 'resp_1',
  object: 'response',
  status: 'completed',
  output: [
    { id: 'msg_1', type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'ab' }] },
  ],
  ...members,
})
const response = encode(
  { type: 'response.created', response: answer({ status: 'in_progress', output: [] }) },
  { type: 'response.completed', response: answer() },
)

const STREAMS: [dialect: Dialect, text: string][] = [
  ['chat', chat + DONE],
  ['completion', completion + DONE],
  ['response', response],
  ['message', message],
  ['message as chat', message],
]

describe.each(STREAMS)('a stream of kind %s', (dialect, text) => {
  test.each<[how: string, change: (text: string) => string]>([
    ['lines that end in CR', (given) => given.replaceAll('\n', '\r')],
    ['lines that end in CRLF', (given) => given.replaceAll('\n', '\r\n')],
    ['a mark of UTF-8 before it', (given) => `\uFEFF${given}`],
    [
      'comments and empty data between',
      (given) => given.replaceAll('\n\n', '\n\n: ping\n\ndata:\n\ndata: {}\n\n'),
    ],
    ['no blank lines between its events', (given) => given.replaceAll('\n\n', '\n')],
    ['no names and no blank lines', (given) => given.replaceAll('\n\n', '\n').replace(/^event:.*\n/gm, '')],
    ['no [DONE] and no last line end', (given) => given.replace(DONE, '').trimEnd()],
    ['JSON over several lines of data', (given) => given.replace(/^data: \{(.*)$/gm, 'data: {\ndata: $1')],
  ])('with %s is the same answer', async (_how, change) => {
    expect(await bodyOf(dialect, change(text))).toEqual(await bodyOf(dialect, text))
  })

  test.each([
    ['a page of HTML in its middle', '<html><body>502</body></html>'],
    ['half an event', 'data: {"id":'],
    ['an error in words', 'data: {"error":"upstream failed"}\n\n'],
    [
      'an error as JSON within words',
      'data: {"error":"{\\"message\\":\\"upstream failed\\",\\"code\\":503}"}\n\n',
    ],
  ])('that breaks off with %s is not an answer', async (_how, end) => {
    const middle = text.indexOf('\n\n') + 2
    const { outcome } = await read(dialect, text.slice(0, middle) + end)
    expect(outcome).toMatchObject({ ok: false, verdict: { class: 'retryable' } })
    if (end.includes('upstream')) expect(outcome).toMatchObject({ verdict: { message: 'upstream failed' } })
  })
})

test('the completion of a stream has the probabilities of all its pieces, its first names and its usage', async () => {
  const piece = (text: string, at: number, finish: string | null = null): JsonObject =>
    chunk({
      text,
      logprobs: { tokens: [text], token_logprobs: [at], text_offset: [at], top_logprobs: [{ [text]: at }] },
      token_ids: [at],
      finish_reason: finish,
    })
  const text = encode(
    { id: '', model: '', created: 0, choices: [], prompt_filter_results: [{ prompt_index: 0 }] },
    piece('a', 0),
    piece('b', 1, 'stop'),
    { ...chunk({ text: '', finish_reason: '' }), id: '', model: '' },
    { usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } },
  )
  const { body, shown } = await bodyOf('completion', text + DONE)
  expect(body).toMatchObject({
    id: 'c1',
    model: 'm',
    usage: { prompt_tokens: 3 },
    choices: [
      {
        text: 'ab',
        finish_reason: 'stop',
        token_ids: [0, 1],
        logprobs: {
          tokens: ['a', 'b'],
          token_logprobs: [0, 1],
          text_offset: [0, 1],
          top_logprobs: [{ a: 0 }, { b: 1 }],
        },
      },
    ],
  })
  expect(shown).toHaveLength(3)
})

/** A Response with all parts that come in pieces, each event as it would have come. */
const FULL = answer({
  output: [
    { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: 'Hm.' }] },
    {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      status: 'completed',
      content: [
        {
          type: 'output_text',
          text: 'ab',
          annotations: [{ type: 'url_citation', url: 'https://a.example' }],
        },
        { type: 'refusal', refusal: 'no' },
      ],
    },
    {
      id: 'fc_1',
      type: 'function_call',
      call_id: 'call_1',
      name: 'f',
      arguments: '{"x":1}',
      status: 'completed',
    },
  ],
})
const bare = (event: JsonObject): JsonObject =>
  event.type === 'response.completed' ? { ...event, response: answer({ output: [] }) } : event
const isPartEvent = ({ type }: JsonObject) => /_part\.(?:added|done)$/.test(String(type))
const isItemEnd = ({ type }: JsonObject) => type === 'response.output_item.done'

test.each<[missing: string, keep: (event: JsonObject) => boolean]>([
  ['nothing but its output', () => true],
  ['the ends of its items', (event) => !isItemEnd(event)],
  ['the ends of its items and all about parts', (event) => !isItemEnd(event) && !isPartEvent(event)],
])('a response whose stream leaves out %s is completed, for clients too', async (_missing, keep) => {
  const events = [...listResponseEvents(FULL)].filter(keep).map(bare)
  const { body, shown } = await bodyOf('response', encode(...events))
  const told = (FULL.output as JsonObject[]).map(({ content, ...item }) => ({
    ...item,
    ...(content === undefined
      ? {}
      : { content: (content as JsonObject[]).map((part) => expect.objectContaining(part)) }),
  }))
  expect(body.output).toMatchObject(told)
  expect(shown.at(-1)).toEqual({ type: 'response.completed', response: body })
})

test('text of an item without a beginning is kept', async () => {
  const delta = {
    type: 'response.output_text.delta',
    item_id: 'msg_1',
    output_index: 0,
    content_index: 0,
    delta: 'ab',
  }
  const { body } = await bodyOf(
    'response',
    encode(delta, { type: 'response.completed', response: answer({ output: [] }) }),
  )
  expect(body.output).toMatchObject([
    { id: 'msg_1', type: 'message', content: [{ type: 'output_text', text: 'ab' }] },
  ])
})

test.each<[type: string, status: string, shown: string]>([
  ['response.completed', 'in_progress', 'response.completed'],
  ['response.completed', 'queued', 'response.completed'],
  ['response.done', 'completed', 'response.completed'],
  ['response.done', 'incomplete', 'response.incomplete'],
  ['response.incomplete', 'in_progress', 'response.incomplete'],
])('%s with the status %s ends a response', async (type, status, last) => {
  const { body, shown } = await bodyOf('response', encode({ type, response: answer({ status }) }))
  expect(shown.at(-1)).toMatchObject({ type: last, response: { status: last.slice('response.'.length) } })
  expect(body).toEqual(shown.at(-1)!.response)
})

test('a response that the provider cancelled is not an answer', async () => {
  const { outcome, shown } = await read(
    'response',
    encode({ type: 'response.cancelled', response: answer({ status: 'cancelled' }) }),
  )
  expect(outcome).toMatchObject({ ok: false, verdict: { code: 'unfinished_answer' } })
  expect(shown).toEqual([])
})
