/**
 * What the history costs a service that works, and what it leaves in Redis: the same jobs through an API and a worker without a
 * history and with one, in turns; then the memory of Redis for jobs that are hot and for jobs that have moved.
 *
 *   npm run bench:history-move
 *   npm run bench:history-move -- postgres://user@127.0.0.1/bench 20000
 *
 * A PostgreSQL has to be empty, and its own CPU is not in the numbers.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { request } from 'undici'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { CHAT_MODEL, chatBody } from './bodies.ts'
import { type Child, startChild } from './child.ts'
import { median } from './statistics.ts'

const ROUNDS = 6
const BLOCK = 500
const LOOK_MS = 200
/** The week to be estimated: 50 jobs a second, of which an hour stays in Redis. */
const WEEK = { perSecond: 50, hotSeconds: 3600 }
/** Events that are kept for followers. */
const MOST_REFERENCES = 100_000

const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
const [history = `sqlite:${join(folder, 'history.db')}`, asked = '6000'] = process.argv.slice(2)
const JOBS = Number(asked)
const children: Child[] = []
const server = await startEmbeddedRedis({
  directory: join(folder, 'redis'),
  extraArgs: ['--auto-aof-rewrite-percentage', '0', '--hash-max-listpack-value', '4096'],
})
const redis = new Redis(server.url)
let next = 0

try {
  const upstream = await start(
    'simulator',
    [here('../main.ts'), 'simulator', '--port', '0'],
    /simulator: (\S+)/,
  )
  const systems = {
    without: await open('without', upstream.match[1]!, 'history: off'),
    with: await open(
      'with',
      upstream.match[1]!,
      `history: { url: "${history}", keep: 90d }\njobs: { hot: 1h }`,
    ),
  }
  // The first jobs of a process are slow.
  for (const system of Object.values(systems)) await round(system, BLOCK)
  const costs = { without: [] as Cost[], with: [] as Cost[] }
  const lags: number[] = []
  for (let turn = 0; turn < ROUNDS; turn++) {
    // Processes get faster as they run: each goes first as often.
    const order = turn % 2 === 0 ? (['without', 'with'] as const) : (['with', 'without'] as const)
    for (const name of order) {
      const { cost, perSecond, lagMs } = await round(systems[name], JOBS)
      costs[name].push(cost)
      if (name === 'with') lags.push(lagMs)
      console.log(`${name.padEnd(8)} ${show(cost)}, ${Math.round(perSecond)} jobs a second`)
    }
  }
  const [off, on] = [costs.without, costs.with].map((rounds) => median(rounds.map(sum))) as [number, number]
  console.log(
    `the history takes ${(on - off).toFixed(3)} ms of CPU a job: ${(((on - off) / off) * 100).toFixed(1)} % of the load's (medians)`,
  )
  console.log(`all is copied ${(Math.max(...lags) / 1000).toFixed(1)} s after the last job has ended`)
  await measureMemory(systems.with, upstream.match[1]!)
} finally {
  await Promise.all(children.map((child) => child.close()))
  redis.disconnect()
  await server.close()
  await rm(folder, { recursive: true, force: true })
}

type System = { prefix: string; url: string; processes: [api: Child, worker: Child] }

/** CPU a job, ms. */
type Cost = { api: number; worker: number; redis: number }

function sum({ api, worker, redis }: Cost): number {
  return api + worker + redis
}

function show(cost: Cost): string {
  const [whole, api, worker, redis] = [sum(cost), cost.api, cost.worker, cost.redis].map((ms) =>
    ms.toFixed(3),
  )
  return `${whole} ms of CPU a job (API ${api}, worker ${worker}, Redis ${redis})`
}

async function open(prefix: string, upstream: string, settings: string): Promise<System> {
  const path = join(folder, `${prefix}.yaml`)
  const limits = '{ requests_per_minute: 100000000, max_concurrency: 32 }'
  const models = `{ ${CHAT_MODEL}: { price: { input: 0.25, output: 2.00 } } }`
  await writeFile(
    path,
    `server: { port: 0 }
redis: { url: "${server.url}", prefix: "${prefix}" }
${settings}
providers:
  sim: { kind: openai-compatible, base_url: "${upstream}", limits: ${limits}, models: ${models} }
`,
  )
  const main = (role: string) => [
    '--import',
    here('./serve-usage.ts'),
    here('../main.ts'),
    role,
    '--config',
    path,
  ]
  const api = await start(`${prefix}-api`, main('api'), /"url":"([^"]+)","msg":"ready"/)
  const worker = await start(`${prefix}-worker`, main('worker'), /"msg":"ready"/)
  return { prefix, url: api.match[1]!, processes: [api, worker] }
}

/**
 * Sends jobs and waits until all have ended, and are copied if there is a history. CPU is of API, worker and Redis.
 */
async function round({ url, prefix, processes }: System, count: number) {
  const before = await readCpu(processes)
  const startedAt = performance.now()
  const group = `g${next}`
  for (let sent = 0; sent < count; sent += BLOCK) {
    const lines = Array.from({ length: Math.min(BLOCK, count - sent) }, () =>
      JSON.stringify({ type: 'chat', group, body: chatBody(`sim/${CHAT_MODEL}`, next++) }),
    )
    const headers = { 'content-type': 'application/x-ndjson' }
    const { statusCode, body } = await request(`${url}/v1/jobs/bulk`, {
      method: 'POST',
      headers,
      body: lines.join('\n'),
    })
    await body.dump()
    if (statusCode >= 300) throw new Error(`bulk answered ${statusCode}`)
  }
  const root = `${prefix}:{t:default}`
  while ((await countOpen(root)) > 0) await sleep(LOOK_MS)
  const endedAt = performance.now()
  while ((await redis.zcard(`${root}:history`)) > 0) await sleep(LOOK_MS)
  const lagMs = performance.now() - endedAt
  const after = await readCpu(processes)
  const each = (name: keyof Cost) => (after[name] - before[name]) / count
  const cost: Cost = { api: each('api'), worker: each('worker'), redis: each('redis') }
  return { cost, perSecond: (count * 1000) / (endedAt - startedAt), lagMs }
}

async function countOpen(root: string): Promise<number> {
  const counts = await Promise.all(
    ['queued', 'running'].map((status) => redis.zcard(`${root}:status:${status}`)),
  )
  return counts.reduce((sum, count) => sum + count, 0)
}

async function readCpu([api, worker]: System['processes']): Promise<Cost> {
  const info = await redis.info('cpu')
  const read = (name: string) => Number(new RegExp(`^${name}:(\\S+)`, 'm').exec(info)![1]) * 1000
  return {
    api: await api.cpuMs(),
    worker: await worker.cpuMs(),
    redis: read('used_cpu_user') + read('used_cpu_sys'),
  }
}

/** Redis' memory for a hot job, and what a job that has moved leaves there. */
async function measureMemory(hot: System, upstream: string): Promise<void> {
  const before = await readMemory()
  await round(hot, JOBS)
  const hotBytes = ((await readMemory()) - before) / JOBS
  const cold = await open(
    'cold',
    upstream,
    `history: { url: "${history}", keep: 90d }\njobs: { hot: 1s }\ncache: { ttl: 1s }`,
  )
  await round(cold, BLOCK)
  const root = 'cold:{t:default}'
  /** Resolves when the jobs and the answers kept for equal ones are gone. */
  const forgotten = async () => {
    while ((await redis.zcard(`${root}:status:completed`)) > 0) await sleep(LOOK_MS)
    for (let keys = -1; keys !== (await redis.dbsize()); ) {
      keys = await redis.dbsize()
      await sleep(2000)
    }
  }
  const empty = await readMemory()
  await round(cold, JOBS)
  await forgotten()
  const leftBytes = ((await readMemory()) - empty) / JOBS
  const { perSecond, hotSeconds } = WEEK
  console.log(`a hot job takes ${Math.round(hotBytes)} bytes of Redis`)
  // References to events, whose number is bounded.
  console.log(
    `one that has moved leaves ${Math.round(leftBytes)}, the last ${MOST_REFERENCES} events of a tenant alone`,
  )
  const gigabytes = (perSecond * hotSeconds * hotBytes + MOST_REFERENCES * leftBytes) / 1e9
  console.log(
    `extrapolated: at ${perSecond} jobs a second, \`jobs.hot\` and \`cache.ttl\` of an hour, Redis has ${gigabytes.toFixed(2)} GB after a week as after an hour`,
  )
}

async function readMemory(): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))![1])
}

async function start(name: string, args: string[], ready: RegExp): Promise<Child> {
  const child = await startChild({ name, args, ready, env: { NODE_ENV: 'production' }, profile: null })
  children.push(child)
  return child
}

function here(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url))
}
