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
 * CPU ms that one turn of the event loop may take: 200, and more where the machine, or others on it, make the same work take
 * longer than the 95 ms that it takes on a quiet one.
 */
function most(): number {
  const text = JSON.stringify('"'.repeat(15 * MB))
  const before = process.cpuUsage()
  JSON.parse(text)
  const { user, system } = process.cpuUsage(before)
  return 200 * Math.max(1, (user + system) / 95_000)
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
  const pattern = new RegExp(`(?:[^]*?longest turn: (\\d+) ms){${before + 1}}`)
  measured++
  return Number((await running.waitForOutput(pattern))[1])
}

/** What a usual run tries; `npm run test:slow` tries every shape. */
const few = [
  'empty arrays',
  'short names',
  'a long string',
  'numbers up to the bound',
  'names up to the bound',
]
const isSlow = process.env.SLUICE_SLOW === '1'

/** Their hash reads the text again, escape by escape, in one turn. */
const slow = new Set(['a long string of escapes', 'a long string of quotes', 'blanks'])

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
      expect(await measure(api)).toBeLessThan(most() * (slow.has(shape) ? 5 : 1))
    },
  )
}, 60_000)

describe('no answer holds a worker, nor is it asked for twice', () => {
  const message = (extra: string) =>
    `{"id":"c","object":"chat.completion","created":1,"model":"chat","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"ok"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2},"extra":${extra}}`

  it.each(
    Object.entries({
      'deep nesting': nest(5_000),
      'empty arrays': list('[]', 30 * MB),
      'short names': names(2 * MB),
      numbers: list('1', 6 * MB),
      'a long string': `"${fill('lorem ipsum ', 30 * MB)}"`,
    }),
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
    expect(await measure(worker)).toBeLessThan(most())
  })
}, 60_000)
