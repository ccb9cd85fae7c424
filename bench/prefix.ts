/**
 * 200 jobs with one prefix of 50,000 tokens, sent at once, with and without `prompt_cache: warm`: what both pay for their input, and what all would pay that leave before the
 * first token of any. The simulator
 * bills prompt caches as providers do. `npm run bench:prefix`
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openService } from './service.ts'

const JOBS = 200
const PREFIX_TOKENS = 50_000
const FIRST_TOKEN_MS = 1800
/** All are there before the first starts, ms. */
const DELAY_MS = 6000
/** Of the bill without warming. */
const MOST_SHARE = 0.15
const PRICE = { input: 1, cached_input: 0.1, output: 0 }

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
  const service = await openService({
    name: 'prefix',
    upstreams: { sim: { latencyMs: FIRST_TOKEN_MS } },
    configure: ({ sim }) => {
      const limits = { max_concurrency: 2 * JOBS }
      const models = { m: { price: PRICE, prompt_cache: warm ? 'warm' : 'off' } }
      return { providers: { sim: { kind: 'openai', base_url: sim, api_key: 'any', limits, models } } }
    },
  })
  try {
    return await pay(service.url, warm)
  } finally {
    await service.close()
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
