import { readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { listChatChunks } from '../../../../api/openai/replay-chat.ts'
import type { JsonObject } from '../../../../lib/json.ts'
import { createChatAssembler } from '../../../../providers/assemble.ts'
import { isCacheable } from '../../../../providers/cacheable.ts'
import { createOpenAiProvider } from '../../../../providers/openai.ts'
import type { ProviderAnswer, ProviderRequest } from '../../../../providers/provider.ts'
import { DIALECTS } from '../../../../simulator/dialects.ts'
import { createSimulator } from '../../../../simulator/simulator.ts'
import { startUpstream } from '../../../helpers/upstream.ts'
import { chatBody, openBench, readFixture, replay, replayStream, TOOL } from '../fixture.ts'
import { KINDS } from '../kinds.ts'
import { facts as anthropic } from './anthropic.ts'
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
import { facts as openai } from './openai.ts'
import { facts as openrouter } from './openrouter.ts'
import { facts as plain } from './plain.ts'
import { facts as sglang } from './sglang.ts'
import { facts as vllm } from './vllm.ts'
import { facts as voyage } from './voyage.ts'
import { facts as zhipu } from './zhipu.ts'

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
  openai,
  openrouter,
  plain,
  sglang,
  vllm,
  voyage,
  zhipu,
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

/** The text of a message, in every form of its content. */
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

test('every dialect of the simulator has its facts, a row on the page about providers and an entry in the help', () => {
  expect(ALL.map(({ name }) => name).sort()).toEqual(Object.keys(DIALECTS).sort())
  const read = (path: string) => readFileSync(new URL(`../../../../${path}`, import.meta.url), 'utf8')
  const page = read('docs/providers.md').split('\n')
  const rows = [...ALL.map((facts) => toRow(`\`${facts.name}\``, facts)), toRow('–', anthropic)]
  expect(rows.filter((row) => !page.includes(row))).toEqual([])
  const [, help = ''] = /--dialect NAME(.*?)\n {2}--/s.exec(read('simulator/cli.ts')) ?? []
  const named: string[] = help.match(/[\w.-]+/g) ?? []
  expect(ALL.map(({ name }) => name).filter((name) => !named.includes(name))).toEqual([])
})

function toRow(name: string, { provider, sends, right, reported }: DialectFacts): string {
  return `| ${name} | ${provider} | ${sends} | ${right} | ${reported} |`
}

describe.each(ALL)('$provider', ({ name }) => {
  test('a chat gives the same answer whole, streamed, shown and replayed', async () => {
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

  test('a tool call gives the same answer', async () => {
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

  test('a refusal and a limit are recognized', async () => {
    const ask = await open(name, 1)
    expect(await ask({ body: chatBody({ messages: [] }) })).toMatchObject({
      ok: false,
      class: 'final',
      message: expect.stringContaining('empty array'),
    })
    expect(await ask({ body: chatBody() })).toMatchObject({ ok: false, class: 'throttled', cause: 'rate' })
  })
})

test('OpenAI: the padding of chunks is no part of the stored answer', async () => {
  const ask = await open('openai')
  const shown: JsonObject[] = []
  const body = chatBody({ stream: true })
  const stored = bodyOf(await ask({ body, onDelta: (chunk) => shown.push(chunk as JsonObject) }))
  expect(shown.every(({ obfuscation }) => typeof obfuscation === 'string')).toBe(true)
  expect(stored).not.toHaveProperty('obfuscation')
  expect(stored).toMatchObject({ service_tier: 'default', usage: { total_tokens: expect.any(Number) } })
})

describe('Zhipu', () => {
  const ask = async (answer: (stream: boolean) => [status: number, body: JsonObject], stream = false) => {
    const upstream = await startUpstream()
    onTestFinished(upstream.close)
    upstream.script = (_call, response) => {
      const [status, body] = answer(stream)
      response.writeHead(status, { 'content-type': stream ? 'text/event-stream' : 'application/json' })
      response.end(stream ? `data: ${JSON.stringify(body)}\n\ndata: [DONE]\n\n` : JSON.stringify(body))
    }
    const provider = createOpenAiProvider({
      name: 'one',
      kind: 'openai-compatible',
      baseUrl: upstream.url,
      apiKey: '',
      defaultTimeoutMs: 10_000,
    })
    onTestFinished(() => provider.close())
    return provider.call({
      type: 'chat',
      model: 'm',
      body: chatBody({ stream }),
      timeoutMs: 10_000,
      signal: new AbortController().signal,
    })
  }

  test.each([
    ['1302', 'Rate limit reached for requests', 'throttled', 'rate'],
    ['1305', 'The API has triggered a rate limit.', 'throttled', 'rate'],
    [
      '1308',
      'Usage limit reached for 5 hour. Your limit will reset at 2026-08-27 21:31:39',
      'throttled',
      'rate',
    ],
    ['1113', 'Insufficient balance or no resource package. Please recharge.', 'final', 'quota'],
  ])('a 429 of code %s: %s', async (code, message, kind, cause) => {
    const answer = await ask(() => [429, { error: { code, message } }])
    expect(answer).toMatchObject({ ok: false, class: kind, cause, code, message })
  })

  test.each([false, true])(
    'an answer that its network cut off is a failure, streamed: %s',
    async (streams) => {
      const choice = (stream: boolean) => ({
        index: 0,
        finish_reason: 'network_error',
        [stream ? 'delta' : 'message']: { role: 'assistant', content: 'Hal' },
      })
      const answer = await ask(
        (stream) => [200, { id: '1', created: 1, model: 'm', choices: [choice(stream)] }],
        streams,
      )
      expect(answer).toMatchObject({ ok: false, class: 'retryable', code: 'unfinished_answer' })
    },
  )

  test('an answer that was filtered says so, and is not kept', async () => {
    const message = { role: 'assistant', content: 'So much' }
    const body = {
      id: '1',
      created: 1,
      model: 'm',
      choices: [{ index: 0, finish_reason: 'sensitive', message }],
    }
    const answer = bodyOf(await ask(() => [200, body]))
    expect(sayOf(answer)).toMatchObject({ text: 'So much', finish: 'sensitive' })
    expect(isCacheable('chat', chatBody(), answer)).toBe(false)
  })
})

describe('Anthropic', () => {
  const kind = KINDS.find((one) => one.kind === 'anthropic')!
  const body = chatBody({ stream: true })

  test('events that are new to us, and pings, change nothing', async () => {
    const { upstream, ask } = await openBench(kind)
    const stream = readFixture('anthropic', 'stream.sse')
    replayStream(upstream, stream)
    const expected = sayOf(bodyOf(await ask({ body })))
    const odd = 'event: of_tomorrow\ndata: {"type":"of_tomorrow","index":0,"delta":{"text":"no"}}\n\n'
    const ping = 'event: ping\ndata: {"type":"ping"}\n\n'
    replayStream(upstream, `${odd + stream.split('\n\n').filter(Boolean).join(`\n\n${ping}${odd}`)}\n\n`)
    const shown: JsonObject[] = []
    const streamed = await ask({ body, onDelta: (chunk) => shown.push(chunk as JsonObject) })
    expect(sayOf(bodyOf(streamed))).toEqual(expected)
    expect(sayOf(assemble(shown))).toEqual(expected)
    expect(sayOf(assemble(listChatChunks(bodyOf(streamed), false)))).toEqual(expected)
  })

  test('an error inside a stream, and a busy service, are failures that may be tried again', async () => {
    const { upstream, ask } = await openBench(kind)
    replay(upstream, 'anthropic', 'error-in-stream.sse')
    const failed = await ask({ body })
    expect(failed).toMatchObject({ ok: false, class: 'retryable', code: 'overloaded_error', ambiguous: true })
    replay(upstream, 'anthropic', 'overloaded.json')
    expect(await ask()).toMatchObject({ ok: false, class: 'retryable', status: 529, cause: 'overloaded' })
  })
})
