import { describe, expect, it, test } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { completeUsage, readUsage, usageOfCut } from '../../../providers/read-usage.ts'

const usageOf = (input: number, output: number, total = input + output) => ({
  input_tokens: input,
  output_tokens: output,
  total_tokens: total,
})

const read = (input: number, output: number) =>
  readUsage({ usage: { prompt_tokens: input, completion_tokens: output } })

test('tokens are whole numbers that can be counted exactly, else they are missing', () => {
  expect(read(3.7, 2)).toEqual({ input_tokens: 3, output_tokens: 2, total_tokens: 5 })
  expect(read(1e308, 2)).toBeNull()
  expect(read(-1, 2)).toBeNull()
  expect(read(3, 1e308)).toEqual({ input_tokens: 3, output_tokens: 0, total_tokens: 3 })
})

test.each<[usage: JsonObject, what: string]>([
  [{ prompt_tokens: 2e9, completion_tokens: 5 }, 'more input than any call has'],
  [{ prompt_tokens: 1e15, completion_tokens: 1e15, total_tokens: 2e15 }, 'more of everything'],
])('%j is not a usage: %s', (usage) => {
  expect(readUsage({ usage })).toBeNull()
})

test('no part is larger than its whole, and no total is smaller than its parts', () => {
  const usage = readUsage({
    usage: {
      prompt_tokens: 10,
      completion_tokens: 5,
      total_tokens: 3,
      prompt_tokens_details: { cached_tokens: 500, cache_write_tokens: 50, audio_tokens: 40 },
      completion_tokens_details: { reasoning_tokens: 30, audio_tokens: 20 },
    },
  })
  expect(usage).toEqual({
    ...usageOf(10, 5),
    cached_input_tokens: 10,
    audio_input_tokens: 10,
    reasoning_tokens: 5,
    audio_output_tokens: 5,
  })
})

test('sound that is counted in seconds is no output, although the total counts it', () => {
  // Mistral, Voxtral.
  const usage = { prompt_audio_seconds: 203, prompt_tokens: 4, completion_tokens: 635, total_tokens: 3264 }
  expect(readUsage({ usage })).toEqual({ ...usageOf(4, 635, 3264), audio_seconds: 203 })
})

describe('usage is read at every place where providers put it', () => {
  const chat = { prompt_tokens: 12, completion_tokens: 5, total_tokens: 17 }
  const places: [string, JsonObject][] = [
    ['OpenAI, chat', { usage: chat }],
    ['OpenAI, Responses', { usage: { input_tokens: 12, output_tokens: 5, total_tokens: 17 } }],
    ['an event that wraps a Response', { type: 'response.completed', response: { usage: chat } }],
    ['a choice', { choices: [{ index: 0, usage: chat }] }],
    ['a later choice', { choices: [{ index: 0 }, { index: 1, usage: chat }] }],
    ['Groq', { x_groq: { id: 'req_1', usage: chat } }],
    ['Groq beside a null', { usage: null, x_groq: { usage: chat } }],
    ['Gemini', { usageMetadata: { promptTokenCount: 12, candidatesTokenCount: 5, totalTokenCount: 17 } }],
    [
      'Gemini with thoughts',
      {
        usageMetadata: {
          promptTokenCount: 12,
          candidatesTokenCount: 2,
          thoughtsTokenCount: 3,
          totalTokenCount: 17,
        },
      },
    ],
    [
      'Anthropic, the first event',
      { type: 'message_start', message: { usage: { input_tokens: 12, output_tokens: 5 } } },
    ],
    ['Anthropic, a later event', { type: 'message_delta', usage: { input_tokens: 12, output_tokens: 5 } }],
    [
      'Anthropic with its prompt cache',
      {
        usage: {
          input_tokens: 2,
          cache_creation_input_tokens: 4,
          cache_read_input_tokens: 6,
          output_tokens: 5,
        },
      },
    ],
    ['Ollama', { prompt_eval_count: 12, eval_count: 5 }],
    ['llama.cpp', { usage: null, timings: { cache_n: 8, prompt_n: 4, predicted_n: 5 } }],
    ["Bedrock's own", { usage: { inputTokens: 12, outputTokens: 5, totalTokens: 17 } }],
    [
      "Gemini's compatible endpoint, which counts thoughts in the total alone",
      { usage: { prompt_tokens: 12, completion_tokens: 2, total_tokens: 17 } },
    ],
    ['nothing but thoughts', { usage: { prompt_tokens: 12, completion_tokens: 0, total_tokens: 17 } }],
    [
      'a prompt cache that only the total counts',
      {
        usage: {
          prompt_tokens: 4,
          completion_tokens: 5,
          total_tokens: 17,
          prompt_tokens_details: { cached_tokens: 8 },
        },
      },
    ],
    [
      'Anthropic with a compaction',
      {
        usage: {
          input_tokens: 3,
          output_tokens: 1,
          iterations: [
            { type: 'compaction', input_tokens: 7, cache_read_input_tokens: 2, output_tokens: 4 },
            { type: 'message', input_tokens: 3, output_tokens: 1 },
          ],
        },
      },
    ],
    ['Cohere', { meta: { billed_units: { input_tokens: 12, output_tokens: 5 } } }],
    ['texts for numbers', { usage: { prompt_tokens: '12', completion_tokens: '5', total_tokens: '17' } }],
    ['null members', { usage: { prompt_tokens: 12, completion_tokens: 5, total_tokens: null } }],
    ['no output beside a total', { usage: { prompt_tokens: 12, total_tokens: 17 } }],
    ['no input beside a total', { usage: { completion_tokens: 5, total_tokens: 17 } }],
    ['zeros before the place that counts', { usage: { prompt_tokens: 0 }, choices: [{ usage: chat }] }],
  ]
  it.each(places)('%s', (_, body) => expect(readUsage(body)).toMatchObject(usageOf(12, 5)))

  const none: [string, JsonObject][] = [
    ['none', {}],
    ['a null', { usage: null }],
    ['a text', { usage: 'many' }],
    ['an empty one', { usage: {} }],
    ['null counts', { usage: { prompt_tokens: null, completion_tokens: null } }],
    ['output alone', { usage: { completion_tokens: 5 } }],
    ['counts that are no numbers', { usage: { prompt_tokens: 'many', completion_tokens: [5] } }],
  ]
  it.each(none)('and is missing if an answer states %s', (_, body) => expect(readUsage(body)).toBeNull())

  it('and a total alone is input', () => {
    expect(readUsage({ usage: { total_tokens: 9 } })).toEqual(usageOf(9, 0))
  })
})

describe('the billed usage of a finished call', () => {
  /** 10 tokens of prompt, 5 of answer, at four bytes each. */
  const request = { messages: [{ role: 'user', content: 'x'.repeat(40) }] }
  const answer = (usage: JsonObject['usage']): JsonObject => ({
    choices: [{ index: 0, message: { role: 'assistant', content: 'y'.repeat(20) } }],
    ...(usage === undefined ? {} : { usage }),
  })
  const complete = (usage: JsonObject['usage']) =>
    completeUsage('chat', request, answer(usage), readUsage(answer(usage)))

  it('is what the provider states', () => {
    expect(complete({ prompt_tokens: 3, completion_tokens: 4 })).toEqual({
      usage: usageOf(3, 4),
      isEstimate: false,
    })
  })

  const estimates: [string, JsonObject['usage'], [number, number]][] = [
    ['states nothing', undefined, [10, 5]],
    ['states null', null, [10, 5]],
    ['states zeros', { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }, [10, 5]],
    ['states the output alone', { completion_tokens: 7 }, [10, 7]],
    ['states no output for an answer that has some', { prompt_tokens: 12, completion_tokens: 0 }, [12, 5]],
    ['states no input', { prompt_tokens: 0, completion_tokens: 7 }, [10, 7]],
    ['states a total alone', { total_tokens: 30 }, [25, 5]],
  ]
  it.each(estimates)('is estimated where the provider %s', (_, usage, [input, output]) => {
    expect(complete(usage)).toEqual({ usage: usageOf(input, output), isEstimate: true })
  })

  it('counts an answer without text as one without output', () => {
    const empty = {
      choices: [{ message: { content: '' } }],
      usage: { prompt_tokens: 12, completion_tokens: 0 },
    }
    expect(completeUsage('chat', request, empty, readUsage(empty))).toEqual({
      usage: usageOf(12, 0),
      isEstimate: false,
    })
  })

  it('counts the text of a Response, and the arguments of tools', () => {
    const response = {
      output: [{ type: 'message', content: [{ type: 'output_text', text: 'y'.repeat(40) }] }],
    }
    expect(completeUsage('response', { input: 'x'.repeat(8) }, response, null).usage).toEqual(usageOf(2, 10))
    const calls = { choices: [{ message: { tool_calls: [{ function: { arguments: 'z'.repeat(16) } }] } }] }
    expect(completeUsage('chat', request, calls, null).usage).toEqual(usageOf(10, 4))
  })

  it('is the input alone for embeddings, whose total alone is input', () => {
    const embed = (usage: JsonObject) =>
      completeUsage('embedding', { input: ['x'.repeat(8), 'y'] }, { data: [], usage }, readUsage({ usage }))
    expect(embed({ total_tokens: 9 })).toEqual({ usage: usageOf(9, 0), isEstimate: false })
    expect(embed({ prompt_tokens: 9, total_tokens: 9 })).toEqual({ usage: usageOf(9, 0), isEstimate: false })
    expect(embed({ prompt_tokens: 0, total_tokens: 0 })).toEqual({ usage: usageOf(3, 0), isEstimate: true })
    expect(embed({})).toEqual({ usage: usageOf(3, 0), isEstimate: true })
  })

  it('is what came of a call that was cut off', () => {
    expect(usageOfCut('chat', request, null, 7)).toEqual({ usage: usageOf(10, 7), isEstimate: true })
    expect(usageOfCut('chat', request, usageOf(12, 3), 7).usage).toEqual(usageOf(12, 7))
    expect(usageOfCut('chat', request, usageOf(12, 9), 7).usage).toEqual(usageOf(12, 9))
  })
})
