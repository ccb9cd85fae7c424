import { accumulateResponse } from 'openai/lib/responses/ResponseAccumulator'
import type { Response, ResponseStreamEvent } from 'openai/resources/responses/responses'
import { describe, expect, it } from 'vitest'
import { listResponseEvents } from '../../../../api/openai/replay-response.ts'
import type { JsonObject } from '../../../../lib/json.ts'

const long = 'A rather long text, in which 🏔️ stands. '.repeat(8)
const message = (content: JsonObject[]): JsonObject => ({
  id: 'msg_1',
  type: 'message',
  status: 'completed',
  role: 'assistant',
  content,
})
const items: Record<string, JsonObject> = {
  'a text': message([{ type: 'output_text', text: long, annotations: [], logprobs: [] }]),
  'a text with annotations and logprobs': message([
    {
      type: 'output_text',
      text: 'See there.',
      annotations: [
        { type: 'url_citation', url: 'https://a.example', title: 'A', start_index: 0, end_index: 3 },
        { type: 'file_citation', file_id: 'file-1', index: 4 },
      ],
      logprobs: [{ token: 'See', logprob: -0.1, bytes: [83], top_logprobs: [] }],
    },
  ]),
  'a refusal beside a text': message([
    { type: 'output_text', text: '', annotations: [] },
    { type: 'refusal', refusal: long },
  ]),
  'a function call': {
    id: 'fc_1',
    type: 'function_call',
    status: 'completed',
    call_id: 'call_1',
    name: 'find',
    arguments: JSON.stringify({ query: long }),
  },
  'a function call without an id': { type: 'function_call', call_id: 'c', name: 'find', arguments: '{}' },
  'a custom tool call': { id: 'ctc_1', type: 'custom_tool_call', call_id: 'call_2', name: 'x', input: long },
  'a call of a remote tool': {
    id: 'mcp_1',
    type: 'mcp_call',
    name: 'find',
    server_label: 's',
    arguments: '{"a":1}',
    output: 'found',
  },
  'reasoning with summaries': {
    id: 'rs_1',
    type: 'reasoning',
    encrypted_content: 'gAAAA',
    summary: [
      { type: 'summary_text', text: long },
      { type: 'summary_text', text: 'Then I looked again.' },
    ],
  },
  'reasoning in the open': {
    id: 'rs_2',
    type: 'reasoning',
    summary: [],
    content: [{ type: 'reasoning_text', text: long }],
  },
  'a search': {
    id: 'ws_1',
    type: 'web_search_call',
    status: 'completed',
    action: { type: 'search', query: 'q' },
  },
  'an item of a kind nobody knows': {
    id: 'odd_1',
    type: 'oddity',
    status: 'strange',
    payload: { deep: [1, null] },
  },
}
const response = (output: JsonObject[], members: JsonObject = {}): JsonObject => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1_700_000_000,
  status: 'completed',
  error: null,
  incomplete_details: null,
  model: 'm',
  output,
  usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
  x_trace: 7,
  ...members,
})
const typesOf = (events: JsonObject[]) => events.map((event) => event.type)

/** What the openai package builds from all events but the last, which alone has everything. */
function accumulate(events: JsonObject[]): JsonObject {
  let snapshot: Response | undefined
  for (const [index, event] of events.slice(0, -1).entries()) {
    snapshot = accumulateResponse(
      { ...event, sequence_number: index } as unknown as ResponseStreamEvent,
      snapshot,
    )
  }
  return snapshot as unknown as JsonObject
}

describe('the events of a response that exists already', () => {
  it.each(Object.entries(items))('add up to %s again', (_name, item) => {
    const events = [...listResponseEvents(response([item]))]
    expect(accumulate(events).output).toEqual([item])
    expect(events.at(-1)).toEqual({ type: 'response.completed', response: response([item]) })
    expect(typesOf(events).filter((type) => String(type).startsWith('response.output_item'))).toEqual([
      'response.output_item.added',
      'response.output_item.done',
    ])
  })

  it('take item after item', () => {
    const output = ['reasoning with summaries', 'a search', 'a text', 'a function call'].map(
      (name) => items[name]!,
    )
    const events = [...listResponseEvents(response(output))]
    expect(accumulate(events).output).toEqual(output)
    const places = events.flatMap(({ output_index: index }) => index ?? [])
    expect(places).toEqual([...places].sort())
  })

  it('cut texts, and keep characters whole', () => {
    const events = [...listResponseEvents(response([items['a text']!]))]
    const deltas = events.filter(({ type }) => type === 'response.output_text.delta')
    expect(deltas.length).toBeGreaterThan(3)
    expect(deltas.map(({ delta }) => delta).join('')).toBe(long)
    for (const { delta } of deltas) expect(String(delta).isWellFormed()).toBe(true)
  })

  it('begin with a response that has nothing yet, and keep members nobody knows', () => {
    const whole = response([], { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } })
    const events = [...listResponseEvents(whole)]
    expect(typesOf(events)).toEqual(['response.created', 'response.in_progress', 'response.incomplete'])
    expect(events[0]!.response).toEqual({
      ...whole,
      status: 'in_progress',
      incomplete_details: null,
      usage: null,
    })
  })

  it('are the same each time', () => {
    const whole = response(Object.values(items))
    expect([...listResponseEvents(whole)]).toEqual([...listResponseEvents(structuredClone(whole))])
  })
})
