import { readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { listChatChunks } from '../../../../api/door/replay-chat.ts'
import type { JsonObject } from '../../../../lib/json.ts'
import { createChatAssembler } from '../../../../providers/assemble.ts'
import { createOpenAiProvider } from '../../../../providers/openai.ts'
import type { ProviderAnswer, ProviderRequest } from '../../../../providers/provider.ts'
import { DIALECTS } from '../../../../providers/simulator/dialects.ts'
import { createSimulator } from '../../../../providers/simulator/simulator.ts'
import { chatBody, TOOL } from '../fixture.ts'
import { facts as azure } from './azure.ts'
import { facts as dashscope } from './dashscope.ts'
import { facts as deepseek } from './deepseek.ts'
import type { DialectFacts } from './facts.ts'
import { facts as gemini } from './gemini.ts'
import { facts as groq } from './groq.ts'
import { facts as llamaCpp } from './llama-cpp.ts'
import { facts as lmStudio } from './lm-studio.ts'
import { facts as minimax } from './minimax.ts'
import { facts as mistral } from './mistral.ts'
import { facts as moonshot } from './moonshot.ts'
import { facts as ollama } from './ollama.ts'
import { facts as openrouter } from './openrouter.ts'
import { facts as plain } from './plain.ts'
import { facts as sglang } from './sglang.ts'
import { facts as vllm } from './vllm.ts'
import { facts as voyage } from './voyage.ts'

const ALL: DialectFacts[] = [
  azure,
  dashscope,
  deepseek,
  gemini,
  groq,
  llamaCpp,
  lmStudio,
  minimax,
  mistral,
  moonshot,
  ollama,
  openrouter,
  plain,
  sglang,
  vllm,
  voyage,
]

type Ask = (request: Partial<ProviderRequest> & { body: JsonObject }) => Promise<ProviderAnswer>

async function open(dialect: string | null, rpm?: number): Promise<Ask> {
  const limits = rpm === undefined ? {} : { requests_per_minute: rpm }
  const simulator = createSimulator({ ...(dialect === null ? {} : { dialect }), outputTokens: 60, limits })
  const baseUrl = await simulator.listen()
  const provider = createOpenAiProvider({
    name: 'one',
    kind: 'openai-compatible',
    baseUrl,
    apiKey: '',
    defaultTimeoutMs: 10_000,
  })
  onTestFinished(async () => {
    await provider.close()
    await simulator.close()
  })
  return (request) =>
    provider.call({
      type: 'chat',
      model: 'm',
      timeoutMs: 10_000,
      signal: new AbortController().signal,
      ...request,
    })
}

function bodyOf(answer: ProviderAnswer): JsonObject {
  if (!answer.ok) throw new Error(`${answer.code}: ${answer.message}`)
  return answer.body
}

/** What a message says, whichever way its content comes. */
function sayOf(body: JsonObject): JsonObject {
  const [choice] = body.choices as { message: JsonObject; finish_reason: string }[]
  const { content, tool_calls: calls = null } = choice!.message
  const parts = Array.isArray(content) ? (content as JsonObject[]) : [{ type: 'text', text: content ?? '' }]
  const text = parts.filter(({ type }) => type === 'text').map((part) => part.text)
  const thought = parts.filter(({ type }) => type === 'thinking').map((part) => JSON.stringify(part))
  return { text: text.join(''), thought: thought.join(''), calls, finish: choice!.finish_reason }
}

function assemble(chunks: Iterable<JsonObject>): JsonObject {
  const assembler = createChatAssembler()
  for (const chunk of chunks) assembler.add(chunk)
  return assembler.build()!
}

test('every dialect of the simulator has its facts, and the page about providers names it', () => {
  expect(ALL.map(({ name }) => name).sort()).toEqual(Object.keys(DIALECTS).sort())
  const page = readFileSync(new URL('../../../../docs/providers.md', import.meta.url), 'utf8')
  for (const { name } of ALL) expect(page).toContain(`| \`${name}\` |`)
})

describe.each(ALL)('$provider', ({ name }) => {
  test('a chat says the same whole, streamed, as it is shown, and replayed', async () => {
    const [plain, ask] = [await open(null), await open(name)]
    const whole = sayOf(bodyOf(await ask({ body: chatBody() })))
    const expected = sayOf(bodyOf(await plain({ body: chatBody() })))
    expect({ ...whole, thought: '' }).toEqual(expected)
    const shown: JsonObject[] = []
    const body = chatBody({ stream: true })
    const streamed = await ask({ body, onDelta: (chunk) => shown.push(chunk as JsonObject) })
    expect(sayOf(bodyOf(streamed))).toEqual(whole)
    expect(sayOf(assemble(shown))).toEqual(whole)
    expect(sayOf(assemble(listChatChunks(bodyOf(streamed), false)))).toEqual(whole)
    expect(bodyOf(streamed)).toMatchObject({ model: 'm', object: 'chat.completion' })
    expect(String(bodyOf(streamed).id)).toMatch(/^chatcmpl-/)
    if (name !== 'mistral') expect(streamed).toMatchObject({ usage: { output_tokens: expect.any(Number) } })
  })

  test('a call of a tool says the same', async () => {
    const [plain, ask] = [await open(null), await open(name)]
    const body = chatBody({ tools: [TOOL], tool_choice: 'required' })
    const expected = sayOf(bodyOf(await plain({ body })))
    const shown: JsonObject[] = []
    const streamed = await ask({
      body: { ...body, stream: true },
      onDelta: (chunk) => shown.push(chunk as JsonObject),
    })
    expect(sayOf(bodyOf(streamed))).toEqual(expected)
    expect(sayOf(assemble(shown))).toEqual(expected)
  })

  test('vectors are those of their inputs', async () => {
    const [plain, ask] = [await open(null), await open(name)]
    const body = { input: ['a', 'b', 'c'], dimensions: 4, encoding_format: 'base64' }
    const [theirs, ours] = [
      await ask({ type: 'embedding', body }),
      await plain({ type: 'embedding', body: { ...body, encoding_format: 'float' } }),
    ]
    expect((bodyOf(theirs).data as JsonObject[]).map(({ index }) => index)).toEqual([0, 1, 2])
    expect(theirs).toMatchObject({ usage: { input_tokens: ours.ok ? ours.usage?.input_tokens : 0 } })
  })

  test('a refusal and a limit are told for what they are', async () => {
    const ask = await open(name, 1)
    expect(await ask({ body: chatBody({ messages: [] }) })).toMatchObject({
      ok: false,
      class: 'final',
      message: expect.stringContaining('empty array'),
    })
    expect(await ask({ body: chatBody() })).toMatchObject({ ok: false, class: 'throttled', cause: 'rate' })
  })
})
