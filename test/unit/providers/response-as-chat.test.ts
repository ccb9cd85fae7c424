import fc from 'fast-check'
import type { Response, ResponseStreamEvent } from 'openai/resources/responses/responses'
import { describe, expect, test } from 'vitest'
import { isJsonObject, type JsonObject, type JsonValue } from '../../../lib/json.ts'
import { createChatAssembler } from '../../../providers/assemble.ts'
import { toResponse } from '../../../providers/chat-to-response.ts'
import { createResponseEvents } from '../../../providers/chat-to-response-events.ts'
import { toChatBody } from '../../../providers/response-to-chat.ts'

describe('a request of the Responses API as a chat', () => {
  test('has its texts, tools, format and effort', () => {
    const parameters = { type: 'object', properties: { city: { type: 'string' } } }
    expect(
      toChatBody({
        model: 'anthropic/x',
        instructions: 'Be brief.',
        input: [
          { role: 'user', content: 'Weather?' },
          {
            type: 'function_call',
            id: 'fc_1',
            call_id: 'call_1',
            name: 'weather',
            arguments: '{"city":"Rome"}',
          },
          { type: 'function_call_output', call_id: 'call_1', output: 'sunny' },
          {
            type: 'message',
            role: 'assistant',
            content: [{ type: 'output_text', text: 'Sunny.', annotations: [] }],
          },
          {
            role: 'user',
            content: [
              { type: 'input_text', text: 'And this?' },
              { type: 'input_image', image_url: 'https://x.example/a.png', detail: 'low' },
              { type: 'input_file', filename: 'a.pdf', file_data: 'data:application/pdf;base64,AA==' },
            ],
          },
        ],
        tools: [{ type: 'function', name: 'weather', description: 'd', parameters, strict: true }],
        tool_choice: { type: 'function', name: 'weather' },
        text: {
          format: { type: 'json_schema', name: 'n', schema: parameters, strict: true },
          verbosity: 'low',
        },
        reasoning: { effort: 'high', summary: 'auto' },
        max_output_tokens: 50,
        temperature: 0.5,
        store: true,
        background: true,
        include: ['reasoning.encrypted_content'],
        metadata: { a: 'b' },
        truncation: null,
        conversation: null,
      }),
    ).toEqual({
      model: 'anthropic/x',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Weather?' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'call_1', content: 'sunny' },
        { role: 'assistant', content: [{ type: 'text', text: 'Sunny.' }] },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'And this?' },
            { type: 'image_url', image_url: { url: 'https://x.example/a.png', detail: 'low' } },
            { type: 'file', file: { file_data: 'data:application/pdf;base64,AA==', filename: 'a.pdf' } },
          ],
        },
      ],
      temperature: 0.5,
      max_completion_tokens: 50,
      tools: [
        { type: 'function', function: { name: 'weather', description: 'd', parameters, strict: true } },
      ],
      tool_choice: { type: 'function', function: { name: 'weather' } },
      reasoning_effort: 'high',
      verbosity: 'low',
      response_format: { type: 'json_schema', json_schema: { name: 'n', schema: parameters, strict: true } },
    })
  })

  test.each<[string, JsonObject]>([
    ['conversation', { conversation: 'conv_1' }],
    ['previous_response_id', { previous_response_id: 'resp_of_openai' }],
    ['prompt', { prompt: { id: 'p' } }],
    ['max_tool_calls', { max_tool_calls: 3 }],
    ['tools[0].type', { tools: [{ type: 'web_search' }] }],
    ['tool_choice', { tool_choice: { type: 'file_search' } }],
    ['input', { input: 5 }],
    ['input[0].type', { input: [{ type: 'item_reference', id: 'x' }] }],
    ['input[0].content[0].type', { input: [{ role: 'user', content: [{ type: 'input_video' }] }] }],
    [
      'input[0].content[0].file_id',
      { input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }] },
    ],
  ])('without a counterpart is refused by its name: %s', (param, members) => {
    expect(() => toChatBody({ model: 'm', input: 'x', ...members })).toThrow(`body.${param}: `)
  })

  test('brings thinking back with its signature', () => {
    const thinking_blocks = [{ type: 'thinking', thinking: 'Hm.', signature: 'sig' }]
    const completion = chatOf({ content: 'Yes.', reasoning_content: 'Hm.', thinking_blocks })
    const { output } = toResponse(completion, {})
    const input = [{ role: 'user', content: 'x' }, ...(output as JsonValue[]), { role: 'user', content: 'y' }]
    expect(toChatBody({ model: 'm', input }).messages).toEqual([
      { role: 'user', content: 'x' },
      { role: 'assistant', content: [{ type: 'text', text: 'Yes.' }], thinking_blocks },
      { role: 'user', content: 'y' },
    ])
  })
})

function chatOf(message: JsonObject, finish = 'stop'): JsonObject {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 7,
    model: 'claude',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', refusal: null, ...message },
        logprobs: null,
        finish_reason: finish,
      },
    ],
    usage: {
      prompt_tokens: 3,
      completion_tokens: 4,
      total_tokens: 7,
      prompt_tokens_details: { cached_tokens: 1 },
    },
  }
}

const delta = fc.oneof(
  fc.record({ content: fc.string() }),
  fc.record({ reasoning_content: fc.string() }),
  fc.record({ refusal: fc.string() }),
  fc.record({ call: fc.nat(2), arguments: fc.string() }),
)
/** Chunks as providers send them: reasoning, then text, then calls, each in pieces. */
const chunks = fc.array(delta, { maxLength: 30 }).map((deltas) => {
  const rank = (one: object) =>
    'reasoning_content' in one ? 0 : 'content' in one ? 1 : 'refusal' in one ? 2 : 3
  const seen = new Set<number>()
  const places = new Map<number, number>()
  return deltas
    .toSorted((one, other) => rank(one) - rank(other))
    .map((one): JsonObject => {
      if (!('call' in one)) return one
      const index = places.get(one.call) ?? places.size
      places.set(one.call, index)
      const isNew = !seen.has(index)
      seen.add(index)
      const named = isNew ? { id: `call_${index}`, type: 'function' } : {}
      return {
        tool_calls: [
          { index, ...named, function: { ...(isNew ? { name: 'f' } : {}), arguments: one.arguments } },
        ],
      }
    })
})

function streamed(deltas: JsonObject[], finish: string, asked: JsonObject) {
  const events: JsonObject[] = []
  const assembler = createChatAssembler()
  const made = createResponseEvents(asked, (event) => events.push(structuredClone(event)))
  for (const [index, one] of [{ role: 'assistant' }, ...deltas, {}].entries()) {
    const chunk = {
      id: 'chatcmpl-1',
      object: 'chat.completion.chunk',
      created: 7,
      model: 'claude',
      choices: [{ index: 0, delta: one, finish_reason: index > deltas.length ? finish : null }],
    }
    made.add(assembler.add(chunk))
  }
  const completion = {
    ...assembler.build()!,
    usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
  }
  return { events, completion, response: made.end(completion) }
}

/** The result of a client that follows the events to the letter. */
function accumulate(events: JsonObject[]): JsonValue {
  const output: JsonObject[] = []
  for (const event of events as unknown as ResponseStreamEvent[]) {
    if (event.type === 'response.output_item.added')
      output[event.output_index] = structuredClone(event.item) as never
    else if (
      event.type === 'response.content_part.added' ||
      event.type === 'response.reasoning_summary_part.added'
    ) {
      const item = output[event.output_index] as unknown as { content: unknown[]; summary: unknown[] }
      if (event.type === 'response.content_part.added') item.content[event.content_index] = { ...event.part }
      else item.summary[event.summary_index] = { ...event.part }
    } else if (event.type === 'response.output_text.delta') {
      ;(output[event.output_index] as never as { content: { text: string }[] }).content[
        event.content_index
      ]!.text += event.delta
    } else if (event.type === 'response.refusal.delta') {
      ;(output[event.output_index] as never as { content: { refusal: string }[] }).content[
        event.content_index
      ]!.refusal += event.delta
    } else if (event.type === 'response.reasoning_summary_text.delta') {
      ;(output[event.output_index] as never as { summary: { text: string }[] }).summary[
        event.summary_index
      ]!.text += event.delta
    } else if (event.type === 'response.function_call_arguments.delta') {
      ;(output[event.output_index] as never as { arguments: string }).arguments += event.delta
    }
  }
  return output.map(({ status: _status, encrypted_content: _content, ...item }) => item)
}
const withoutStatus = (output: JsonValue | undefined) =>
  (output as JsonObject[]).map(({ status: _status, encrypted_content: _content, ...item }) => item)

describe('a chat as a response', () => {
  test('says the same as a stream, in one piece, and to a client that follows the events', () => {
    fc.assert(
      fc.property(
        chunks,
        fc.constantFrom('stop', 'length', 'content_filter', 'tool_calls'),
        (deltas, finish) => {
          const { events, completion, response } = streamed(deltas, finish, { temperature: 0 })
          expect(response).toEqual(toResponse(completion, { temperature: 0 }))
          expect(accumulate(events)).toEqual(withoutStatus(response.output))
          expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index))
          const done = events
            .filter(({ type }) => type === 'response.output_item.done')
            .map(({ item }) => item)
          expect(done.toSorted((one, other) => place(events, one) - place(events, other))).toEqual(
            response.output,
          )
          expect(events.at(-1)).toMatchObject({ type: `response.${response.status}`, response })
        },
      ),
    )
  })

  test('has usage, an incomplete end and a refusal in the words of responses', () => {
    const cut = toResponse(chatOf({ content: 'Hal' }, 'length'), {
      max_output_tokens: 1,
    }) as unknown as Response
    expect(cut).toMatchObject({
      id: 'resp_1',
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      max_output_tokens: 1,
      output: [{ id: 'msg_1', status: 'incomplete', content: [{ type: 'output_text', text: 'Hal' }] }],
      usage: {
        input_tokens: 3,
        input_tokens_details: { cached_tokens: 1 },
        output_tokens: 4,
        total_tokens: 7,
      },
    })
    expect(toResponse(chatOf({ content: null, refusal: 'No.' }), {})).toMatchObject({
      status: 'completed',
      output: [{ content: [{ type: 'refusal', refusal: 'No.' }] }],
    })
  })
})

function place(events: JsonObject[], item: JsonValue | undefined): number {
  const added = events.find(
    (event) => event.type === 'response.output_item.done' && isJsonObject(item) && event.item === item,
  )
  return Number(added?.output_index)
}
