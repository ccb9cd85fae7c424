/**
 * Interactive waves over three batches: streamed calls that come forty at a time, alone, and while batches with 30 minutes, two hours and a day
 * go through the same lane, in scaled time. `npm run bench:burst`. It exits with 1 if a batch misses its window, and prints the 99th percentile to the first token with and without them.
 */
import { openService } from './service.ts'

/** So many times as fast as the clock; the first tokens of the waves are not scaled. */
const SCALE = 60
const MINUTE = 60_000 / SCALE
const HOUR = 60 * MINUTE
/** In the order of their arrival, the one with the most time first. */
const BATCHES = [
  { name: 'a day', lines: 5000, windowMs: 24 * HOUR },
  { name: 'two hours', lines: 2000, windowMs: 2 * HOUR },
  { name: '30 minutes', lines: 500, windowMs: 0.5 * HOUR },
]
const WAVES = 8
const CALLS = 40
const BETWEEN_MS = 5000
const FIRST_TOKEN_MS = 200
const REQUESTS_PER_MINUTE = 6000
const FLEX_MS = 2 * MINUTE
const TURNAROUND_MS = HOUR

type Batch = { name: string; lines: number; inTime: number; seconds: number; tiers: Record<string, number> }

async function run(withBatches: boolean): Promise<{ firstTokens: number[]; batches: Batch[] }> {
  const service = await openService({
    name: 'burst',
    upstreams: {
      sim: {
        latencyMs: FIRST_TOKEN_MS,
        limits: { requests_per_minute: REQUESTS_PER_MINUTE },
        batches: { turnaroundMs: TURNAROUND_MS },
        faults: [{ kind: 'slow', match: '"service_tier":"flex"', ms: FLEX_MS }],
      },
    },
    configure: ({ sim }) => ({ providers: { sim: configureProvider(sim) } }),
  })
  try {
    const batches = withBatches ? await submit(service.url) : []
    const firstTokens = await makeWaves(service.url)
    return { firstTokens, batches: await Promise.all(batches.map((batch) => ended(service.url, batch))) }
  } finally {
    await service.close()
  }
}

function configureProvider(url: string): object {
  const tiers = {
    flex: { timeout: `${15 * MINUTE}ms`, fall_back_after: `${10 * MINUTE}ms` },
    batch: { gather: `${10 * MINUTE}ms`, poll: `${MINUTE}ms`, leave_before: `${2 * HOUR}ms` },
  }
  const price = { input: 1, output: 4, tiers: { flex: 0.5, batch: 0.5 } }
  return {
    kind: 'openai',
    base_url: url,
    api_key: 'any',
    timeout: `${5 * MINUTE}ms`,
    limits: { requests_per_minute: REQUESTS_PER_MINUTE, max_concurrency: 1000 },
    models: { m: { price, tiers } },
  }
}

type Submitted = { name: string; group: string; lines: number; since: number; deadline: number }

async function submit(url: string): Promise<Submitted[]> {
  const made: Submitted[] = []
  for (const [at, { name, lines, windowMs }] of BATCHES.entries()) {
    const since = Date.now()
    const deadline = since + windowMs
    const group = `batch-${at}`
    const body = Array.from({ length: lines }, (_, line) =>
      JSON.stringify({
        ...{ type: 'chat', tier: 'auto', priority: 'low', group, fair_key: group },
        deadline: new Date(deadline).toISOString(),
        body: {
          model: 'sim/m',
          max_tokens: 16,
          messages: [{ role: 'user', content: `line ${line} of ${name}` }],
        },
      }),
    ).join('\n')
    const headers = { 'content-type': 'application/x-ndjson' }
    const answer = await fetch(`${url}/v1/jobs/bulk`, { method: 'POST', headers, body })
    const refused = (await answer.text()).split('\n').filter((line) => line.includes('"error":{'))
    if (refused.length > 0)
      throw new Error(`${name}: ${refused.length} refused, ${refused[0]!.slice(0, 300)}`)
    made.push({ name, group, lines, since, deadline })
  }
  return made
}

/** ms to the first token of each call. */
async function makeWaves(url: string): Promise<number[]> {
  const waves: Promise<number[]>[] = []
  for (let wave = 0; wave < WAVES; wave++) {
    waves.push(Promise.all(Array.from({ length: CALLS }, (_, call) => callOnce(url, `wave ${wave}.${call}`))))
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS))
  }
  return (await Promise.all(waves)).flat()
}

async function callOnce(url: string, content: string): Promise<number> {
  const since = performance.now()
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'sim/m', stream: true, messages: [{ role: 'user', content }] }),
  })
  let first: number | null = null
  for await (const _ of answer.body as AsyncIterable<Uint8Array>) first ??= performance.now() - since
  if (!answer.ok || first === null) throw new Error(`a call of a wave was answered ${answer.status}`)
  return first
}

type Listed = { id: string; status: string; finished_at: string; served_tier: string | null }

async function ended(url: string, { name, group, lines, since, deadline }: Submitted): Promise<Batch> {
  for (;;) {
    const answer = await fetch(`${url}/v1/groups/${group}`)
    const { counts } = (await answer.json()) as { counts: Record<string, number> }
    if ((counts.completed ?? 0) + (counts.failed ?? 0) === lines) break
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  const jobs: Listed[] = []
  for (let hasMore = true; hasMore; ) {
    const last = jobs.at(-1)?.id
    const answer = await fetch(
      `${url}/v1/jobs?group=${group}&limit=1000${last === undefined ? '' : `&after=${last}`}`,
    )
    const page = (await answer.json()) as { data: Listed[]; has_more: boolean }
    jobs.push(...page.data)
    hasMore = page.has_more
  }
  const tiers: Record<string, number> = {}
  for (const { served_tier } of jobs) tiers[served_tier ?? 'none'] = (tiers[served_tier ?? 'none'] ?? 0) + 1
  const ends = jobs.map((job) => Date.parse(job.finished_at))
  const inTime = jobs.filter(
    (job) => job.status === 'completed' && Date.parse(job.finished_at) <= deadline,
  ).length
  return { name, lines, inTime, tiers, seconds: (Math.max(...ends) - since) / 1000 }
}

function percentile(values: readonly number[], share: number): number {
  return values.toSorted((one, other) => one - other)[Math.ceil(values.length * share) - 1]!
}

const alone = await run(false)
const over = await run(true)
const [before, after] = [percentile(alone.firstTokens, 0.99), percentile(over.firstTokens, 0.99)]
console.log(`${WAVES} waves of ${CALLS} streamed calls, 99th percentile to the first token:`)
console.log(
  `  alone ${before.toFixed(0)} ms, over three batches ${after.toFixed(0)} ms (${(after / before).toFixed(2)} times)`,
)
for (const { name, lines, inTime, seconds, tiers } of over.batches) {
  const by = Object.entries(tiers).map(([tier, count]) => `${tier} ${count}`)
  console.log(
    `  ${name}: ${inTime} of ${lines} lines in time, the last after ${((seconds * SCALE) / 3600).toFixed(2)} h of the scaled time (${by.join(', ')})`,
  )
}
if (over.batches.some(({ lines, inTime }) => inTime < lines)) process.exitCode = 1
