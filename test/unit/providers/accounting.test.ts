import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { countedUsage, estimateCost, priceUsage, settledTokens } from '../../../providers/accounting.ts'

const chat = (members: JsonObject): JsonObject => ({
  model: 'm',
  messages: [{ role: 'user', content: 'x'.repeat(400) }],
  ...members,
})

test('OpenAI counts the larger of the output cap and the prompt’s estimate', () => {
  const cost = (body: JsonObject) => estimateCost({ kind: 'openai', type: 'chat', body })
  expect(cost(chat({}))).toEqual({ tokens: 100, inputTokens: 100, outputTokens: 0, inputs: 1 })
  expect(cost(chat({ max_tokens: 30 })).tokens).toBe(100)
  expect(cost(chat({ max_tokens: 300 })).tokens).toBe(300)
  expect(cost(chat({ max_completion_tokens: 500, max_tokens: 300 })).tokens).toBe(500)
  expect(cost(chat({ max_tokens: 300, n: 4 })).tokens).toBe(1200)
})

test('Azure counts prompt and output cap together', () => {
  const cost = estimateCost({ kind: 'azure-openai', type: 'chat', body: chat({ max_tokens: 300, n: 2 }) })
  expect(cost.tokens).toBe(700)
})

test('Anthropic does not count the cap, only the expected output', () => {
  const cost = (body: JsonObject) =>
    estimateCost({ kind: 'anthropic', type: 'chat', body, expectedOutputTokens: 50 })
  expect(cost(chat({ max_tokens: 4000 }))).toMatchObject({ tokens: 150, inputTokens: 100, outputTokens: 50 })
  expect(cost(chat({ max_tokens: 20 })).outputTokens).toBe(20)
})

test('Gemini counts input only', () => {
  expect(estimateCost({ kind: 'gemini', type: 'chat', body: chat({ max_tokens: 4000 }) }).tokens).toBe(100)
})

test('without a cap the expected output replaces it', () => {
  const cost = estimateCost({ kind: 'openai', type: 'chat', body: chat({}), expectedOutputTokens: 250 })
  expect(cost).toMatchObject({ tokens: 250, outputTokens: 250 })
})

test('prompt text is content, text parts, tool schemas and tool arguments; labels are not', () => {
  const count = (body: JsonObject) => estimateCost({ kind: 'openai', type: 'chat', body }).inputTokens
  const tools = [{ type: 'function', function: { name: 'find', parameters: { properties: { place: {} } } } }]
  expect(count({ messages: [{ role: 'user', content: [{ type: 'text', text: 'x'.repeat(40) }] }] })).toBe(10)
  expect(count({ messages: [], tools })).toBe(Math.ceil(JSON.stringify(tools).length / 4))
  expect(
    count({
      messages: [
        {
          role: 'assistant',
          tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'abcd', arguments: '12345678' } }],
        },
      ],
    }),
  ).toBe(3)
  expect(count({ messages: [{ role: 'user', content: 'é'.repeat(8) }] })).toBe(4)
})

test('a picture costs as a picture, not as its base64', () => {
  const url = `data:image/png;base64,${'A'.repeat(1_000_000)}`
  const body = { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }] }
  expect(estimateCost({ kind: 'openai', type: 'chat', body }).inputTokens).toBe(765)
})

test('responses are counted by instructions, input and max_output_tokens', () => {
  const cost = (body: JsonObject) => estimateCost({ kind: 'openai', type: 'response', body })
  expect(cost({ instructions: 'x'.repeat(40), input: 'x'.repeat(40) }).tokens).toBe(20)
  expect(
    cost({ input: [{ role: 'user', content: [{ type: 'input_text', text: 'x'.repeat(80) }] }] }).tokens,
  ).toBe(20)
  expect(cost({ input: 'x', max_output_tokens: 99 }).tokens).toBe(99)
})

test('each embedding input counts at least one token; token arrays count their length', () => {
  const cost = (input: JsonObject['input']) => {
    const { tokens, inputs } = estimateCost({ kind: 'openai', type: 'embedding', body: { input } })
    return { tokens, inputs }
  }
  expect(cost('x'.repeat(9))).toEqual({ tokens: 3, inputs: 1 })
  expect(cost(['a', 'b', 'x'.repeat(8)])).toEqual({ tokens: 4, inputs: 3 })
  expect(cost([1, 2, 3])).toEqual({ tokens: 3, inputs: 1 })
  expect(cost([[1, 2, 3], [4]])).toEqual({ tokens: 4, inputs: 2 })
})

test('odd bodies are counted without an exception', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('chat', 'response', 'embedding' as const),
      fc.dictionary(fc.constantFrom('messages', 'input', 'n', 'tools', 'max_tokens', 'text'), fc.jsonValue()),
      (type, body) => {
        const cost = estimateCost({ kind: 'openai', type, body: body as JsonObject })
        return (
          Object.values(cost).every((value) => Number.isSafeInteger(value) && value >= 0) && cost.tokens > 0
        )
      },
    ),
  )
})

const estimate = { tokens: 300, inputTokens: 100, outputTokens: 300 }
const usage = (input: number, output: number) => ({
  input_tokens: input,
  output_tokens: output,
  total_tokens: input + output,
})

test('a call that was never sent holds nothing', () => {
  expect(settledTokens('openai', estimate, null, false)).toEqual({
    tokens: 0,
    inputTokens: 0,
    outputTokens: 0,
  })
})

test('OpenAI refunds nothing and grows only by its own rule', () => {
  expect(settledTokens('openai', estimate, usage(90, 20), true).tokens).toBe(300)
  expect(settledTokens('openai', estimate, usage(250, 200), true).tokens).toBe(300)
  expect(settledTokens('openai', estimate, usage(700, 20), true)).toEqual({
    tokens: 700,
    inputTokens: 700,
    outputTokens: 300,
  })
  expect(settledTokens('openai', estimate, null, true)).toEqual(estimate)
})

test('Azure adds up, Anthropic and Gemini settle to what was used', () => {
  expect(settledTokens('azure-openai', estimate, usage(250, 200), true).tokens).toBe(450)
  expect(settledTokens('anthropic', estimate, usage(90, 20), true)).toEqual({
    tokens: 110,
    inputTokens: 90,
    outputTokens: 20,
  })
  expect(settledTokens('gemini', estimate, usage(90, 20), true).tokens).toBe(90)
})

test('what Anthropic’s prompt cache supplied does not count against the limit', () => {
  const body = { usage: { prompt_tokens: 1120, cache_read_input_tokens: 1000 } }
  expect(countedUsage('anthropic', { body, usage: usage(1120, 300) })).toEqual(usage(120, 300))
  expect(countedUsage('anthropic', { body: {}, usage: usage(1120, 300) })).toEqual(usage(1120, 300))
  expect(countedUsage('anthropic', { body, usage: null })).toBeNull()
  expect(countedUsage('openai', { body, usage: usage(1120, 300) })).toEqual(usage(1120, 300))
})

test('prices are exact to a millionth of a millionth dollar', () => {
  expect(priceUsage({ input: 0.02, output: 0 }, usage(1, 0))).toBe(2e-8)
  expect(priceUsage({ input: 0.25, output: 2 }, usage(1000, 500))).toBe(0.00125)
  expect(priceUsage({ input: 0.1, output: 0.2 }, usage(3, 3))).toBe(9e-7)
})
