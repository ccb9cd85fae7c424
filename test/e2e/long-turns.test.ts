import { mkdtemp, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningProcess, startProcess } from '../helpers/processes.ts'
import { testRedis, toConfig } from '../helpers/redis.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'
import { chat, createJob, waitForJob } from '../helpers/stack.ts'

/**
 * CPU ms that one turn of the event loop may take: five times what this machine takes now to parse 15 MB of quotes,
 * 95 ms on a quiet one, and at least 300. A body without a bound takes seconds.
 */
function most(): number {
  const text = JSON.stringify('"'.repeat(15 * MB))
  const before = process.cpuUsage()
  JSON.parse(text)
  const { user, system } = process.cpuUsage(before)
  return Math.max(300, (5 * (user + system)) / 1000)
}

const MB = 1_000_000
const fill = (piece: string, bytes: number) => piece.repeat(Math.ceil(bytes / piece.length))
const list = (piece: string, bytes: number) => `[${fill(`${piece},`, bytes)}0]`
const names = (count: number, prefix = 'k') =>
  `{${Array.from({ length: count }, (_, index) => `"${prefix}${index}":1`).join(',')}}`
const nest = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

/** Values of every shape, up to the bounds and beyond. */
const shapes: Record<string, string> = {
  'empty arrays': list('[]', 30 * MB),
  'empty objects': list('{}', 30 * MB),
  numbers: list('1', 30 * MB),
  'long numbers': list('0.12345678901234567', 30 * MB),
  'short strings': list('""', 30 * MB),
  'short names': names(2 * MB),
  'repeated names': list('{"a":1}', 30 * MB),
  'deep nesting': nest(10 * MB),
  'a long string': `"${fill('lorem ipsum ', 30 * MB)}"`,
  'a long string of escapes': `"${fill('\\n', 30 * MB)}"`,
  'a long string of quotes': `"${fill('\\"', 30 * MB)}"`,
  'a long string beyond Latin': `"${'é😀'.repeat(5 * MB)}"`,
  blanks: `${' '.repeat(30 * MB)}1`,
  'arrays up to the bound': list('[]', 1_400_000),
  'numbers up to the bound': list('12345', 2_900_000),
  'names up to the bound': names(99_000),
  'a string of quotes up to the bound': `"${fill('\\"', 6 * MB - 2)}${fill('lorem ipsum ', 24 * MB)}"`,
  'objects up to the bound': list('{"name":"a"}', 1_200_000),
}

const longestTurn = fileURLToPath(new URL('../fixtures/longest-turn.mjs', import.meta.url))
const redis = testRedis()
let api: RunningProcess
let worker: RunningProcess
let url: string
let answer = '{}'
const upstream = createServer((request, response) => {
  request.resume().on('end', () => response.setHeader('content-type', 'application/json').end(answer))
})

beforeAll(async () => {
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', () => resolve()))
  const folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'turns-'))
  const path = join(folder, 'sluice.yaml')
  await writeFile(
    path,
    `
redis: ${JSON.stringify(toConfig(redis))}
worker: { spool: "${folder}/spool" }
providers:
  up:
    kind: openai-compatible
    base_url: http://127.0.0.1:${(upstream.address() as AddressInfo).port}/v1
    retry: { base: 10ms, cap: 20ms }
    models: { chat: {} }
  claude:
    kind: anthropic
    base_url: http://127.0.0.1:${(upstream.address() as AddressInfo).port}
    api_key: k
    models: { chat: {} }
  nobody:
    kind: openai-compatible
    base_url: http://127.0.0.1:1/v1
    models: { chat: {} }
`,
  )
  const start = (role: string, ready: RegExp) =>
    startProcess({
      args: ['--import', longestTurn, 'main.ts', role, '--config', path, '--port', '0'],
      ready,
      readyMs: 50_000,
    })
  api = await start('api', /"url":"(http:[^"]+)","msg":"ready"/)
  worker = await start('worker', /"role":"worker".*"msg":"ready"/)
  url = api.match[1]!
  await measure(api)
  await measure(worker)
}, 60_000)

afterAll(() => void upstream.close())

let measured = 0
async function measure(running: RunningProcess): Promise<number> {
  const before = running.output.match(/longest turn/g)?.length ?? 0
  running.kill('SIGUSR2')
  measured++
  const told = await running.waitForOutput(new RegExp(`longest turn ${before + 1}: (\\d+) ms`))
  return Number(told[1])
}

/** What a usual run tries; `npm run test:slow` tries every shape. */
const few = ['short names', 'names up to the bound', 'a string of quotes up to the bound']
const fewMessages = ['a picture of blanks', 'arguments that are deep']
const fewLines = ['names up to the bound']
const fewAnswers = ['deep nesting', 'empty arrays']
const isSlow = process.env.SLUICE_SLOW === '1'

describe('no body holds the API', () => {
  it.each(Object.entries(shapes).filter(([shape]) => isSlow || few.includes(shape)))(
    '%s',
    async (shape, value) => {
      const job = `{"type":"chat","run_at":"2100-01-01T00:00:00Z","body":{"model":"nobody/chat","messages":[{"role":"user","content":"x"}],"extra":${value}}}`
      for (const [path, type, body] of [
        ['/v1/jobs', 'application/json', job],
        ['/v1/jobs/bulk', 'application/x-ndjson', `${job}\n`],
      ] as const) {
        const answered = await fetch(url + path, { method: 'POST', headers: { 'content-type': type }, body })
        const text = await answered.text()
        expect(answered.status, text).toBeLessThan(500)
        if (answered.status >= 400) expect(text).toMatch(/(?:has|is nested) more than \d+/)
      }
      const inApi = await measure(api)
      if (isSlow) process.stderr.write(`${shape}: api ${inApi}\n`)
      expect.soft(inApi).toBeLessThan(most())
    },
  )
}, 60_000)

/** Parts of messages, in the forms of different providers: 30 MB in each. */
const messages: Record<string, () => object[]> = {
  'a long text': () => [{ role: 'user', content: fill('lorem ipsum ', 30 * MB) }],
  'a text of quotes': () => [{ role: 'user', content: fill('"', 2.9 * MB) + fill('lorem ipsum ', 20 * MB) }],
  'a text of line breaks': () => [{ role: 'user', content: fill('lorem ip\n', 25 * MB) }],
  'a picture with blanks': () => [picture(`data:image/png;base64,${fill('iVBORw0KGgo= ', 30 * MB)}`)],
  'a picture of blanks': () => [picture(`data:image/png;base64,iVBORw0KGgoAAAAA${fill('A ', 30 * MB)}`)],
  'a picture in percents': () => [picture(`data:image/png,${fill('%41', 30 * MB)}`)],
  'arguments that are long': () => [calls(`{"a":"${fill('lorem ipsum ', 20 * MB)}"}`)],
  'arguments of many values': () => [calls(`{"a":${list('1', 14 * MB)}}`)],
  'arguments of many names': () => [calls(names(2 * MB))],
  'arguments that are deep': () => [calls(`{"a":${nest(5 * MB)}}`)],
  'a long id of a call': () => [calls('{}', fill('é', 15 * MB))],
}

function picture(url: string): object {
  return { role: 'user', content: [{ type: 'image_url', image_url: { url } }] }
}

function calls(text: string, id = 'call_1'): object {
  const call = { id, type: 'function', function: { name: 'f', arguments: text } }
  return { role: 'assistant', content: null, tool_calls: [call] }
}

describe('no request holds a worker', () => {
  it.each(
    Object.entries(messages)
      .filter(([shape]) => isSlow || fewMessages.includes(shape))
      .flatMap(([shape]) =>
        (isSlow ? ['up', 'claude'] : ['claude']).map((provider) => [shape, provider] as const),
      ),
  )('%s, to %s', async (shape, provider) => {
    const asked = messages[shape]!()
    answer = provider === 'claude' ? claudes : message('1')
    const answered = await fetch(`${url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        type: 'chat',
        body: {
          model: `${provider}/chat`,
          max_tokens: 10,
          messages: [{ role: 'user', content: `x ${measured}` }, ...asked],
        },
        max_attempts: 1,
      }),
    })
    const created = await answered.text()
    if (answered.status === 202) {
      const job = await waitForJob(url, JSON.parse(created).id)
      expect(['completed', 'failed']).toContain(job.status)
    } else expect(created).toMatch(/(?:has|is nested) more than \d+/)
    const [inApi, inWorker] = [await measure(api), await measure(worker)]
    if (isSlow) process.stderr.write(`${shape}, ${provider}: api ${inApi} worker ${inWorker}\n`)
    expect.soft(inApi).toBeLessThan(most())
    expect.soft(inWorker).toBeLessThan(most())
  })
}, 60_000)

const post = async <T>(path: string, body: FormData | object): Promise<T> => {
  const isForm = body instanceof FormData
  const answered = await fetch(url + path, {
    method: 'POST',
    headers: isForm ? {} : { 'content-type': 'application/json' },
    body: isForm ? body : JSON.stringify(body),
  })
  return (await answered.json()) as T
}

describe('no line of a batch holds a worker', () => {
  it.each(Object.keys(shapes).filter((shape) => isSlow || fewLines.includes(shape)))('%s', async (shape) => {
    answer = message('1')
    const body = `{"model":"up/chat","messages":[{"role":"user","content":"x"}],"extra":${shapes[shape]}}`
    const form = new FormData()
    form.set('purpose', 'batch')
    form.set(
      'file',
      new Blob([`{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":${body}}`]),
      'batch.jsonl',
    )
    const file = await post<{ id: string }>('/v1/files', form)
    const asked = {
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    }
    const { id } = await post<{ id: string }>('/v1/batches', asked)
    await expect
      .poll(async () => (await fetch(`${url}/v1/batches/${id}`)).json(), { timeout: 30_000, interval: 50 })
      .toMatchObject({ status: expect.stringMatching(/completed|failed/) })
    const [inApi, inWorker] = [await measure(api), await measure(worker)]
    if (isSlow) process.stderr.write(`a line of ${shape}: api ${inApi} worker ${inWorker}\n`)
    expect.soft(inApi).toBeLessThan(most())
    expect.soft(inWorker).toBeLessThan(most())
  })
}, 60_000)

const claudes = JSON.stringify({
  id: 'm',
  type: 'message',
  role: 'assistant',
  model: 'chat',
  stop_reason: 'end_turn',
  content: [{ type: 'text', text: 'ok' }],
  usage: { input_tokens: 1, output_tokens: 1 },
})
const message = (extra: string) =>
  `{"id":"c","object":"chat.completion","created":1,"model":"chat","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"ok"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},"extra":${extra}}`

describe('no answer holds a worker, or is requested twice', () => {
  it.each(
    Object.entries({
      'deep nesting': nest(5_000),
      'empty arrays': list('[]', 30 * MB),
      'short names': names(2 * MB),
      numbers: list('1', 6 * MB),
      'a long string': `"${fill('lorem ipsum ', 30 * MB)}"`,
      'a string of quotes': `"${fill('\\"', 30 * MB)}"`,
      'line breaks': `${fill('\n', 30 * MB)}1`,
      'numbers to the bound': list('0.1234567', 30 * MB),
      'objects to the bound': list('{"a":1}', 7 * MB),
    }).filter(([shape]) => isSlow || fewAnswers.includes(shape)),
  )('%s', async (shape, value) => {
    answer = message(value)
    const { id } = await createJob(url, {
      ...chat(`${shape} ${measured}`, { max_attempts: 3 }),
      body: { model: 'up/chat', messages: [{ role: 'user', content: shape }] },
    })
    const job = await waitForJob(url, id)
    expect(job.attempts).toBe(1)
    if (job.status === 'failed') {
      expect(job.error).toMatchObject({
        code: 'answer_too_large',
        message: expect.stringMatching(/more than \d+/),
      })
    } else expect(job.status).toBe('completed')
    const inWorker = await measure(worker)
    const inWait = await measure(api)
    const again = await fetch(`${url}/v1/jobs/${id}`)
    await again.arrayBuffer()
    const inApi = await measure(api)
    const events = await fetch(`${url}/v1/jobs/${id}/events`)
    await events.arrayBuffer()
    const inEvents = await measure(api)
    if (isSlow)
      process.stderr.write(
        `${job.status} ${job.error?.message?.slice(0, 100)} wait ${inWait} api ${inApi} events ${inEvents} worker ${inWorker}\n`,
      )
    const limit = most()
    expect.soft(inWorker).toBeLessThan(limit)
    expect.soft(inWait).toBeLessThan(limit)
    expect.soft(inApi).toBeLessThan(limit)
    expect.soft(inEvents).toBeLessThan(limit)
  })
}, 60_000)

describe('others', () => {
  // By wall time: only for an idle machine.
  it.runIf(isSlow)(
    'wait at most half a second longer while several of the worst bodies are read',
    async () => {
      const healthy = async () => {
        const begun = performance.now()
        const answered = await fetch(`${url}/v1/jobs`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: `{"type":"chat","run_at":"2100-01-01T00:00:00Z","cache":"off","body":{"model":"nobody/chat","messages":[{"role":"user","content":"x"}]}}`,
        })
        expect(answered.status, await answered.text()).toBe(202)
        return performance.now() - begun
      }
      const alone: number[] = []
      for (let calls = 0; calls < 20; calls++) alone.push(await healthy())
      const worst = [
        'numbers up to the bound',
        'names up to the bound',
        'a string of quotes up to the bound',
      ].map(
        (shape) =>
          `{"type":"chat","run_at":"2100-01-01T00:00:00Z","body":{"model":"nobody/chat","messages":[{"role":"user","content":"x"}],"extra":${shapes[shape]}}}`,
      )
      let isDone = false
      const large = Promise.all(
        [...worst, ...worst].map(async (body) => {
          const headers = { 'content-type': 'application/json' }
          const answered = await fetch(`${url}/v1/jobs`, { method: 'POST', headers, body })
          expect(answered.status, await answered.text()).toBe(202)
        }),
      ).finally(() => {
        isDone = true
      })
      const beside: number[] = []
      while (!isDone) beside.push(await healthy())
      await large
      if (isSlow)
        process.stderr.write(
          `alone ${Math.max(...alone)} beside ${Math.max(...beside)} of ${beside.length}\n`,
        )
      expect(beside.length).toBeGreaterThan(0)
      expect(Math.max(...beside)).toBeLessThan(Math.max(...alone) + 2.5 * most())
    },
  )
}, 60_000)
