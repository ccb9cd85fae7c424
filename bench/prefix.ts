/**
 * 200 jobs with one prefix of 50,000 tokens, sent at once, with and without `prompt_cache: warm`: what both pay for their input, and what all would pay that leave before the
 * first token of any. The simulator
 * bills prompt caches as providers do. `npm run bench:prefix`
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { createSimulator } from '../simulator/simulator.ts'
import { startChild } from './child.ts'

const JOBS = 200
const PREFIX_TOKENS = 50_000
const FIRST_TOKEN_MS = 1800
/** All are there before the first starts, ms. */
const DELAY_MS = 6000
/** Of the bill without warming. */
const MOST_SHARE = 0.15
const PRICE = { input: 1, cached_input: 0.1, output: 0 }
const READY = /(?:"url":"([^"]+)",)?"msg":"ready"/

type Bill = {
  warm: boolean
  input_usd: number
  input_tokens: number
  cached_input_tokens: number
  seconds: number
}
type JobAnswer = {
  status: string
  cost_usd: number
  usage: { input_tokens: number; cached_input_tokens?: number }
}

async function run(warm: boolean): Promise<Bill> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-prefix-'))
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })]
  try {
    const redis = await startEmbeddedRedis({ directory: join(folder, 'redis') })
    closers.push(() => redis.close())
    const simulator = createSimulator({ latencyMs: FIRST_TOKEN_MS })
    const upstream = await simulator.listen(0, '127.0.0.1')
    closers.push(() => simulator.close())
    const config = join(folder, 'sluice.yaml')
    const model = { price: PRICE, prompt_cache: warm ? 'warm' : 'off' }
    const provider = {
      kind: 'openai',
      base_url: upstream,
      api_key: 'any',
      limits: { max_concurrency: 2 * JOBS },
    }
    const providers = { sim: { ...provider, models: { m: model } } }
    await writeFile(config, JSON.stringify({ server: { port: 0 }, redis: { url: redis.url }, providers }))
    const child = await startChild({
      name: 'sluice',
      args: [
        '--import',
        new URL('./serve-health.ts', import.meta.url).href,
        fileURLToPath(new URL('../main.ts', import.meta.url)),
        'all',
        '--config',
        config,
      ],
      env: { NODE_ENV: 'production' },
      ready: READY,
      profile: null,
    })
    closers.push(() => child.close())
    return await pay(child.match[1]!, warm)
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

async function pay(url: string, warm: boolean): Promise<Bill> {
  const system = 'word '.repeat((4 * PREFIX_TOKENS) / 5)
  const lines = Array.from({ length: JOBS }, (_, index) => {
    const messages = [
      { role: 'system', content: system },
      { role: 'user', content: `Question ${index}` },
    ]
    return JSON.stringify({
      type: 'chat',
      delay_ms: DELAY_MS,
      body: { model: 'sim/m', stream: true, messages },
    })
  })
  const since = performance.now()
  const bulk = await fetch(`${url}/v1/jobs/bulk`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: lines.join('\n'),
  })
  const answers = (await bulk.text()).trim().split('\n')
  const ids = answers.map(
    (line) => (JSON.parse(line) as { job?: { id: string }; id?: string }).job?.id ?? JSON.parse(line).id,
  )
  const jobs = await Promise.all(
    ids.map(async (id): Promise<JobAnswer> => {
      for (;;) {
        const answer = await fetch(`${url}/v1/jobs/${id}?wait=30`)
        const job = (await answer.json()) as JobAnswer
        if (job.status === 'completed') return job
        if (!['scheduled', 'queued', 'running'].includes(job.status)) throw new Error(JSON.stringify(job))
      }
    }),
  )
  const sum = (read: (job: JobAnswer) => number) => jobs.reduce((total, job) => total + read(job), 0)
  return {
    warm,
    input_usd: sum((job) => job.cost_usd),
    input_tokens: sum((job) => job.usage.input_tokens),
    cached_input_tokens: sum((job) => job.usage.cached_input_tokens ?? 0),
    seconds: Math.round(performance.now() - since) / 1000,
  }
}

const cold = await run(false)
const warmed = await run(true)
// How many calls of the cold run leave before the first token depends on the machine. All of them, at once, pay this:
const atOnceUsd = (cold.input_tokens * PRICE.input) / 1e6
const share = warmed.input_usd / atOnceUsd
const result = {
  jobs: JOBS,
  prefix_tokens: PREFIX_TOKENS,
  at_once_usd: atOnceUsd,
  cold,
  warmed,
  share,
  goal: MOST_SHARE,
}
await writeFile(join(import.meta.dirname, 'results', 'prefix.json'), `${JSON.stringify(result, null, 2)}\n`)
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
process.exitCode = share <= MOST_SHARE ? 0 : 1
