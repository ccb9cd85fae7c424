import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { JsonObject, JsonValue } from '../../../lib/json.ts'
import { toChatCompletion } from '../../../providers/anthropic-answer.ts'
import { toMessagesRequest } from '../../../providers/anthropic-request.ts'
import { createMessagesReader } from '../../../providers/anthropic-stream.ts'
import { UnmappableError } from '../../../providers/unmappable.ts'

const anything = fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<JsonValue>
const oneOf = (...values: JsonValue[]) => fc.oneof(...values.map((value) => fc.constant(value)), anything)

const part = fc.record(
  {
    type: oneOf('text', 'image_url', 'file', 'refusal', 'input_audio', 'document'),
    text: anything,
    image_url: fc.oneof(anything, fc.record({ url: oneOf('data:,', 'data:a/b;base64,', 'https://a') })),
    file: fc.oneof(anything, fc.record({ file_data: anything, file_id: anything })),
  },
  { requiredKeys: [] },
)
const message = fc.record(
  {
    role: oneOf('system', 'developer', 'user', 'assistant', 'tool', 'function'),
    content: fc.oneof(anything, fc.array(part)),
    tool_calls: fc.oneof(anything, fc.array(fc.record({ function: fc.record({ arguments: anything }) }))),
    thinking_blocks: anything,
    refusal: anything,
  },
  { requiredKeys: [] },
)
const body = fc.record(
  {
    messages: fc.oneof(anything, fc.array(fc.oneof(anything, message))),
    system: anything,
    tools: fc.oneof(anything, fc.array(fc.record({ type: anything, function: anything }))),
    tool_choice: oneOf('auto', 'required', 'none'),
    response_format: fc.oneof(anything, fc.record({ type: oneOf('json_schema'), json_schema: anything })),
    reasoning_effort: oneOf('low', 'constructor'),
    metadata: anything,
    stop: anything,
    n: anything,
  },
  { requiredKeys: [] },
) as fc.Arbitrary<JsonObject>

test('every member that a client sends is mapped or refused by its name, and never changed', () => {
  fc.assert(
    fc.property(body, (given) => {
      const before = JSON.stringify(given)
      try {
        toMessagesRequest(given, { model: 'm', defaultMaxTokens: 1, onUnsupported: 'refuse' })
      } catch (error) {
        expect(error).toBeInstanceOf(UnmappableError)
      }
      expect(JSON.stringify(given)).toBe(before)
    }),
    { numRuns: 500, endOnFailure: true },
  )
})

const block = fc.record(
  {
    type: oneOf('text', 'tool_use', 'thinking', 'redacted_thinking'),
    text: anything,
    input: anything,
    thinking: anything,
  },
  { requiredKeys: [] },
)
const usage = fc.oneof(anything, fc.record({ input_tokens: anything, output_tokens: anything }))

test('every answer of a provider becomes a completion or null', () => {
  const answer = fc.record(
    { content: fc.oneof(anything, fc.array(fc.oneof(anything, block))), stop_reason: anything, usage },
    { requiredKeys: [] },
  ) as fc.Arbitrary<JsonObject>
  fc.assert(
    fc.property(answer, (given) => {
      const body = toChatCompletion(given, 0)
      expect(body === null || body.object === 'chat.completion').toBe(true)
    }),
    { numRuns: 500, endOnFailure: true },
  )
})

test('the reader of a stream answers to any content', () => {
  const event = fc.record(
    {
      type: oneOf(
        'message_start',
        'content_block_start',
        'content_block_delta',
        'content_block_stop',
        'message_delta',
        'message_stop',
        'ping',
      ),
      index: oneOf(0, 1),
      message: fc.oneof(anything, fc.record({ id: anything, usage })),
      content_block: fc.oneof(anything, block),
      delta: fc.oneof(
        anything,
        fc.record({ type: oneOf('text_delta', 'input_json_delta', 'thinking_delta'), text: anything }),
        fc.record({ stop_reason: oneOf('end_turn', 'tool_use') }),
      ),
      usage,
    },
    { requiredKeys: ['type'] },
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 12 }), (events) => {
      const reader = createMessagesReader({ onDelta: () => {}, forwardUsage: true, created: 0 })
      for (const one of events) if (reader.take(JSON.stringify(one), null)) return
      reader.finish()
    }),
    { numRuns: 500, endOnFailure: true },
  )
})
