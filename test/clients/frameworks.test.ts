// Frameworks that applications are written in, unmodified: the AI SDK, LangChain and OpenAI's Agents.
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import {
  Agent,
  tool as agentTool,
  OpenAIChatCompletionsModel,
  OpenAIResponsesModel,
  run,
  setTracingDisabled,
} from '@openai/agents'
import {
  embedMany,
  generateImage,
  experimental_generateSpeech as generateSpeech,
  generateText,
  Output,
  stepCountIs,
  streamText,
  tool,
  experimental_transcribe as transcribe,
} from 'ai'
import OpenAI7 from 'openai7'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '../../lib/json.ts'
import { responseOf } from '../helpers/responses.ts'
import { type Stack, startStack } from '../helpers/stack.ts'
import { answer, completion, startUpstream, type Upstream } from '../helpers/upstream.ts'

let stack: Stack
let own: Upstream
let baseURL: string

beforeAll(async () => {
  setTracingDisabled(true)
  own = await startUpstream()
  stack = await startStack({
    simulator: ['--output-tokens', '40'],
    extra: `
  own:
    kind: openai
    api_key: unused
    base_url: ${own.url}
    retry: { max_attempts: 1 }
    models: { model: {} }`,
  })
  baseURL = `${stack.urls[0]}/v1`
})
afterAll(async () => {
  await own?.close()
  expect(await stack?.stop()).toEqual([0, 0, 0])
})
beforeEach(() => {
  own.calls.length = 0
})

let texts = 0
const fresh = (text = 'hello') => `${text} ${++texts}`
const city = z.object({ name: z.string(), people: z.number() })
const berlin = { name: 'Berlin', people: 3_900_000 }

/** Calls a tool if none has answered yet, then repeats the tool's answer. */
function scriptTool(): void {
  own.script = (call, response) => {
    if (call.path.endsWith('/responses')) {
      const items = (call.body.input as JsonObject[]).filter((item) => item.type === 'function_call_output')
      const toolCall = {
        type: 'function_call',
        id: 'fc_1',
        call_id: 'call_1',
        name: 'weather',
        arguments: '{"city":"Berlin"}',
        status: 'completed',
      }
      return answer(response, 200, responseOf(items.length > 0 ? `It is ${items[0]!.output}.` : [toolCall]))
    }
    const said = (call.body.messages as JsonObject[]).find((message) => message.role === 'tool')
    const calls = [
      { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Berlin"}' } },
    ]
    const content = said?.content
    const text = Array.isArray(content) ? (content[0] as JsonObject).text : content
    answer(
      response,
      200,
      said
        ? completion(`It is ${text}.`)
        : {
            ...completion(''),
            choices: [
              {
                index: 0,
                message: { role: 'assistant', content: null, tool_calls: calls },
                finish_reason: 'tool_calls',
              },
            ],
          },
    )
  }
}

describe('the AI SDK', () => {
  const providers = () => ({
    responses: createOpenAI({ baseURL, apiKey: 'unused' }).responses,
    chat: createOpenAI({ baseURL, apiKey: 'unused' }).chat,
    compatible: createOpenAICompatible({
      name: 'sluice',
      baseURL,
      apiKey: 'unused',
      includeUsage: true,
      supportsStructuredOutputs: true,
    }),
  })

  test.each(['responses', 'chat', 'compatible'] as const)(
    'generates and streams text by %s',
    async (kind) => {
      const model = providers()[kind]('sim/chat')
      const prompt = fresh()
      const { text, usage } = await generateText({ model, prompt, maxRetries: 0 })
      const streamed = streamText({ model, prompt, maxRetries: 0 })
      let pieces = ''
      for await (const piece of streamed.textStream) pieces += piece
      expect(pieces).toBe(text)
      expect(text).toContain('Answer')
      expect((await streamed.usage).outputTokens).toBe(usage.outputTokens)
    },
  )

  test.each(['responses', 'chat', 'compatible'] as const)('calls tools by %s', async (kind) => {
    scriptTool()
    const weather = tool({
      description: 'The weather of a city.',
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => `sunny in ${city}`,
    })
    const { text } = await generateText({
      model: providers()[kind]('own/model'),
      prompt: fresh('How is the weather?'),
      tools: { weather },
      stopWhen: stepCountIs(3),
      maxRetries: 0,
    })
    expect(text).toBe('It is sunny in Berlin.')
  })

  test.each(['responses', 'chat', 'compatible'] as const)('makes objects of a schema by %s', async (kind) => {
    own.script = (call, response) =>
      answer(
        response,
        200,
        call.path.endsWith('/responses')
          ? responseOf(JSON.stringify(berlin))
          : completion(JSON.stringify(berlin)),
      )
    const { output } = await generateText({
      model: providers()[kind]('own/model'),
      prompt: fresh('A city'),
      output: Output.object({ schema: city }),
      maxRetries: 0,
    })
    expect(output).toEqual(berlin)
  })

  test('makes a picture, speaks, and hears what was said', async () => {
    const openai = createOpenAI({ baseURL, apiKey: 'unused' })
    const { image } = await generateImage({ model: openai.image('sim/chat'), prompt: fresh('a heron') })
    expect(image.mediaType).toBe('image/png')
    const { audio } = await generateSpeech({
      model: openai.speech('sim/chat'),
      text: fresh('hello'),
      outputFormat: 'wav',
    })
    const { text } = await transcribe({ model: openai.transcription('sim/chat'), audio: audio.uint8Array })
    expect(text).toMatch(/^Answer /)
  })

  test('embeds many values', async () => {
    const model = createOpenAI({ baseURL, apiKey: 'unused' }).embeddingModel('sim/embed')
    const { embeddings } = await embedMany({ model, values: [fresh(), fresh(), fresh()] })
    expect(embeddings.map((vector) => vector.length)).toEqual([1536, 1536, 1536])
  })

  test('fails with the message of the provider, and does not retry what cannot succeed', async () => {
    own.script = (_call, response) => answer(response, 400, { error: { message: 'Too hot.', code: 'hot' } })
    const model = providers().chat('own/model')
    const failed = await generateText({ model, prompt: fresh() }).catch((error) => error)
    expect(String(failed)).toContain('Too hot.')
    expect(own.calls).toHaveLength(1)
  })
})

describe('LangChain', () => {
  const open = (model: string, members = {}) =>
    new ChatOpenAI({ model, apiKey: 'unused', configuration: { baseURL }, maxRetries: 0, ...members })

  test.each([false, true])('invokes and streams a chat (responses API: %s)', async (useResponsesApi) => {
    const chat = open('sim/chat', { useResponsesApi })
    const prompt = fresh()
    const whole = await chat.invoke(prompt)
    expect(whole.text).toContain('Answer')
    let pieces = ''
    for await (const piece of await chat.stream(prompt)) pieces += piece.text
    expect(pieces).toBe(whole.text)
  })

  test('makes structured output', async () => {
    own.script = (_call, response) => answer(response, 200, completion(JSON.stringify(berlin)))
    const chat = open('own/model').withStructuredOutput(city, { method: 'jsonSchema' })
    expect(await chat.invoke(fresh('A city'))).toEqual(berlin)
  })

  test('embeds documents', async () => {
    const embeddings = new OpenAIEmbeddings({
      model: 'sim/embed',
      apiKey: 'unused',
      configuration: { baseURL },
    })
    expect((await embeddings.embedDocuments([fresh(), fresh()])).map((vector) => vector.length)).toEqual([
      1536, 1536,
    ])
  })
})

describe("OpenAI's Agents", () => {
  test.each(['responses', 'chat completions'])('run with a tool by %s', async (kind) => {
    scriptTool()
    const client = new OpenAI7({ baseURL, apiKey: 'unused', maxRetries: 0 })
    const model =
      kind === 'responses'
        ? new OpenAIResponsesModel(client, 'own/model')
        : new OpenAIChatCompletionsModel(client, 'own/model')
    const weather = agentTool({
      name: 'weather',
      description: 'The weather of a city.',
      parameters: z.object({ city: z.string() }),
      execute: async ({ city }) => `rainy in ${city}`,
    })
    const agent = new Agent({
      name: 'Helper',
      instructions: fresh('You are helpful.'),
      model,
      tools: [weather],
    })
    expect((await run(agent, fresh('The weather?'))).finalOutput).toBe('It is rainy in Berlin.')
  })

  test('stream', async () => {
    const client = new OpenAI7({ baseURL, apiKey: 'unused', maxRetries: 0 })
    const agent = new Agent({ name: 'Helper', model: new OpenAIResponsesModel(client, 'sim/chat') })
    const streamed = await run(agent, fresh(), { stream: true })
    let text = ''
    for await (const piece of streamed.toTextStream()) text += piece
    await streamed.completed
    expect(text).toBe(streamed.finalOutput)
    expect(text).toContain('Answer')
  })
})
