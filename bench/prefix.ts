/**
 * 200 jobs with one prefix of 50,000 tokens that start at one time, with and without `prompt_cache: warm`: what both really pay for their input. The
 * simulator bills prompt caches as providers do, and runs in a process of its own. `npm run bench:prefix`
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import type { BilledCall } from '../simulator/state.ts'
import { type Child, startChild } from './child.ts'

const JOBS = 200
const PREFIX_TOKENS = 50_000
const FIRST_TOKEN_MS = 1800
const LATE_TOKEN_MS = 20_000
/**
 * From the beginning of the upload to the start of all jobs, ms. All must exist by then, or some would start later
 * than the others.
 */
const UPLOAD_MS = 20_000
/** Of the bill for all jobs that leave at once, without warming. */
const MOST_SHARE = 0.15
const PRICE = { input: 1, cached_input: 0.1, output: 0 }
const READY = /(?:"url":"([^"]+)",)?"msg":"ready"/
const SIMULATOR_READY = /simulator: (\S+)/
const main = fileURLToPath(new URL('../main.ts', import.meta.url))

type Bill = {
  warm: boolean
  first_token_seconds: number
  input_usd: number
  input_tokens: number
  cached_input_tokens: number
  /**
   * From the first call to the last at the provider. A call after the first token of the first one finds the cache,
   * warmed or not.
   */
  departures_seconds: number
  /** From the start of the jobs to the last answer. */
  seconds: number
}
type JobAnswer = {
  status: string
  cost_usd: number
  usage: { input_tokens: number; cached_input_tokens?: number }
}

async function run(warm: boolean, firstTokenMs: number): Promise<Bill> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-prefix-'))
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })]
  const start = async (name: string, args: string[], ready: RegExp): Promise<Child> => {
    const child = await startChild({
      name,
      args: ['--import', new URL('./serve-health.ts', import.meta.url).href, main, ...args],
      env: { NODE_ENV: 'production' },
      ready,
      profile: null,
    })
    closers.push(() => child.close())
    return child
  }
  try {
    const redis = await startEmbeddedRedis({ directory: join(folder, 'redis') })
    closers.push(() => redis.close())
    const latency = String(firstTokenMs)
    const simulator = await start(
      'simulator',
      ['simulator', '--port', '0', '--latency', latency],
      SIMULATOR_READY,
    )
    const upstream = simulator.match[1]!
    const config = join(folder, 'sluice.yaml')
    const model = { price: PRICE, prompt_cache: warm ? 'warm' : 'off' }
    const limits = { max_concurrency: 2 * JOBS }
    const provider = { kind: 'openai', base_url: upstream, api_key: 'any', limits }
    const providers = { sim: { ...provider, models: { m: model } } }
    await writeFile(config, JSON.stringify({ server: { port: 0 }, redis: { url: redis.url }, providers }))
    const sluice = await start('sluice', ['all', '--config', config], READY)
    return { warm, first_token_seconds: firstTokenMs / 1000, ...(await pay(sluice.match[1]!, upstream)) }
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

async function pay(url: string, upstream: string): Promise<Omit<Bill, 'warm' | 'first_token_seconds'>> {
  const system = 'word '.repeat((4 * PREFIX_TOKENS) / 5)
  // An instant, not a delay: a delay would begin with each job's own creation, and spread the starts over the time of
  // the upload.
  const startAt = Date.now() + UPLOAD_MS
  const lines = Array.from({ length: JOBS }, (_, index) => {
    const messages = [
      { role: 'system', content: system },
      { role: 'user', content: `Question ${index}` },
    ]
    const body = { model: 'sim/m', stream: true, messages }
    return JSON.stringify({ type: 'chat', run_at: new Date(startAt).toISOString(), body })
  })
  const bulk = await fetch(`${url}/v1/jobs/bulk`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: lines.join('\n'),
  })
  const answers = (await bulk.text()).trim().split('\n')
  if (Date.now() > startAt) throw new Error(`the upload took longer than ${UPLOAD_MS} ms`)
  const ids = answers.map((line) => (JSON.parse(line) as { id: string }).id)
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
  const seconds = (Date.now() - startAt) / 1000
  const told = await fetch(new URL('/_sim/calls', upstream))
  const { calls } = (await told.json()) as { calls: BilledCall[] }
  const times = calls.map(({ at }) => at)
  const sum = (read: (job: JobAnswer) => number) => jobs.reduce((total, job) => total + read(job), 0)
  return {
    input_usd: Number(sum((job) => job.cost_usd).toFixed(6)),
    input_tokens: sum((job) => job.usage.input_tokens),
    cached_input_tokens: sum((job) => job.usage.cached_input_tokens ?? 0),
    departures_seconds: Math.round(Math.max(...times) - Math.min(...times)) / 1000,
    seconds: Math.round(seconds * 1000) / 1000,
  }
}

// As it happens here: a call after the first token finds the cache. How many calls do depends on the machine.
const cold = await run(false, FIRST_TOKEN_MS)
// As on a fleet that sends all calls before the first token: here that token comes so late that all have left.
const atOnce = await run(false, LATE_TOKEN_MS)
const warmed = await run(true, FIRST_TOKEN_MS)
const share = warmed.input_usd / atOnce.input_usd
const result = {
  jobs: JOBS,
  prefix_tokens: PREFIX_TOKENS,
  cold,
  at_once: atOnce,
  warmed,
  share,
  share_of_cold: warmed.input_usd / cold.input_usd,
  goal: MOST_SHARE,
}
await writeFile(join(import.meta.dirname, 'results', 'prefix.json'), `${JSON.stringify(result, null, 2)}\n`)
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
process.exitCode = share <= MOST_SHARE ? 0 : 1
