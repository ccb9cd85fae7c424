/**
 * What one dashboard that is looked at costs: first the API, the worker and Redis under a steady load without a watcher, then the
 * same processes at rest over what the load left, with a watcher and without, in turns. The difference at rest is a few
 * milliseconds a second, which under load would drown in what the load itself varies by.
 * `npm run bench:dashboard -- --help` lists the options.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { type Child, startChild } from './child.ts'
import { readMachine } from './machine.ts'
import { readCounts } from './redis-meter.ts'
import { median } from './statistics.ts'

const HELP = `npm run bench:dashboard -- [options]

  --rate N       jobs a second to submit (500)
  --rounds N     windows with a watcher, and as many without (4)
  --seconds N    length of a window (8); the load has two
  --watchers N   (1)
  --help
`

/** Submissions a second, as a client makes them that submits in bulk. */
const BULKS = 10
/** One job in this many fails, so that there are failures to show. */
const BAD_EVERY = 100
/** Jobs for later, so that there are open groups whose end has to be forecast. */
const SCHEDULED = 500
const WARM_UP_MS = 5_000
const KEY = 'bench-key-of-tenant-'
const ADMIN_KEY = 'bench-key-of-the-operator'
const TENANTS = 4

/** A second of one window. CPU in ms, so 10 are a hundredth of a core. */
type Window = { api: number; worker: number; redis: number; commands: number; finished: number }
type Stage = { url: string; redis: Redis; api: Child; worker: Child }

/** Jobs so far. */
let sent = 0

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '500' },
    rounds: { type: 'string', default: '4' },
    seconds: { type: 'string', default: '8' },
    watchers: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) process.stdout.write(HELP)
else {
  await run({
    rate: Number(values.rate),
    rounds: Number(values.rounds),
    windowMs: Number(values.seconds) * 1000,
    watchers: Number(values.watchers),
  })
}

type Options = { rate: number; rounds: number; windowMs: number; watchers: number }

async function run(options: Options): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-dashboard-'))
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })]
  try {
    const stage = await openStage(folder, closers)
    const machine = await readMachine(stage.redis)
    await submit(stage.url, 0, SCHEDULED, { delay_ms: 3_600_000 })
    const load = startLoad(stage.url, options.rate)
    await sleep(WARM_UP_MS)
    const loaded = await measure(stage, 2 * options.windowMs)
    await load.stop()
    await settle(stage)
    const pairs: { off: Window; on: Window }[] = []
    for (let round = 0; round < options.rounds; round++) {
      const off = await measure(stage, options.windowMs)
      const watching = new AbortController()
      const seen = Array.from({ length: options.watchers }, () => watch(stage.url, watching.signal))
      const on = await measure(stage, options.windowMs)
      watching.abort()
      const snapshots = await Promise.all(seen)
      process.stderr.write(`round ${round + 1}: ${snapshots.join(', ')} snapshots\n`)
      pairs.push({ off, on })
    }
    process.stdout.write(
      render(options, loaded, pairs, `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}`),
    )
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

async function openStage(folder: string, closers: (() => Promise<unknown>)[]): Promise<Stage> {
  const server = await startEmbeddedRedis({ directory: join(folder, 'redis') })
  closers.push(() => server.close())
  const redis = new Redis(server.url, { connectionName: 'bench' })
  closers.push(async () => redis.disconnect())
  const config = join(folder, 'sluice.yaml')
  const start = async (name: string, args: string[], ready: RegExp) => {
    const usage = new URL('./serve-usage.ts', import.meta.url).href
    const main = fileURLToPath(new URL('../main.ts', import.meta.url))
    const child = await startChild({
      name,
      args: ['--max-semi-space-size=16', '--import', usage, main, ...args],
      env: { REDIS_URL: server.url, NODE_ENV: 'production' },
      ready,
      profile: null,
    })
    closers.push(child.close)
    return child
  }
  const upstream = await start('simulator', ['simulator', '--port', '0'], /simulator: (\S+)/)
  await writeFile(config, writeConfig(upstream.match[1]!))
  const worker = await start('worker', ['worker', '--config', config], /"msg":"ready"/)
  const api = await start('api', ['api', '--config', config], /"url":"([^"]+)","msg":"ready"/)
  return { url: api.match[1]!, redis, api, worker }
}

async function submit(url: string, tenant: number, jobs: number, members: object = {}): Promise<void> {
  const lines = Array.from({ length: jobs }, () => {
    const text = `number ${sent++}${sent % BAD_EVERY === 0 ? ' [[fault:400]]' : ''}`
    const body = { model: 'sim/chat', messages: [{ role: 'user', content: text }] }
    return JSON.stringify({ type: 'chat', body, group: `group-${sent % 5}`, ...members })
  })
  const response = await fetch(`${url}/v1/jobs/bulk`, {
    method: 'POST',
    headers: { authorization: `Bearer ${KEY}${tenant}`, 'content-type': 'application/x-ndjson' },
    body: lines.join('\n'),
  })
  await response.text()
}

/** Submits at a steady rate, in groups, one tenant after the other. */
function startLoad(url: string, rate: number): { stop: () => Promise<void> } {
  let stopped = false
  const running = (async () => {
    for (let turn = 0, due = performance.now(); !stopped; turn++) {
      await submit(url, turn % TENANTS, rate / BULKS)
      due += 1000 / BULKS
      await sleep(Math.max(0, due - performance.now()))
    }
  })()
  return {
    async stop() {
      stopped = true
      await running
    },
  }
}

/** Waits until every job has ended that is not for later. */
async function settle({ redis }: Stage): Promise<void> {
  while ((await countFinished(redis)) < sent - SCHEDULED) await sleep(100)
  await sleep(2_000)
}

async function measure({ redis, api, worker }: Stage, windowMs: number): Promise<Window> {
  const look = async () => ({
    at: performance.now(),
    api: await api.cpuMs(),
    worker: await worker.cpuMs(),
    counts: await readCounts(redis),
    finished: await countFinished(redis),
  })
  const before = await look()
  await sleep(windowMs)
  const after = await look()
  const perSecond = (amount: number) => (amount / (after.at - before.at)) * 1000
  return {
    api: perSecond(after.api - before.api),
    worker: perSecond(after.worker - before.worker),
    redis: perSecond(after.counts.cpuMs - before.counts.cpuMs),
    commands: perSecond(after.counts.commands - before.counts.commands),
    finished: perSecond(after.finished - before.finished),
  }
}

async function countFinished(redis: Redis): Promise<number> {
  const names = Array.from({ length: TENANTS }, (_, tenant) => `t${tenant}`)
  const keys = names.flatMap((name) =>
    ['completed', 'failed'].map((status) => `sluice:{t:${name}}:status:${status}`),
  )
  const counts = await Promise.all(keys.map((key) => redis.zcard(key)))
  return counts.reduce((sum, count) => sum + count, 0)
}

/** Reads snapshots as the page does; answers how many it got. */
async function watch(url: string, signal: AbortSignal): Promise<number> {
  const headers = { authorization: `Bearer ${ADMIN_KEY}` }
  let events = 0
  try {
    const response = await fetch(`${url}/v1/overview/events`, { headers, signal })
    for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
      events += text.split('event: overview').length - 1
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  return events
}

function render(
  options: Options,
  loaded: Window,
  pairs: { off: Window; on: Window }[],
  machine: string,
): string {
  const of = (kind: 'off' | 'on', name: keyof Window) => median(pairs.map((pair) => pair[kind][name]))
  const added = (name: keyof Window) => median(pairs.map(({ off, on }) => on[name] - off[name]))
  const rows = (['api', 'worker', 'redis', 'commands'] as const).map((name) => {
    const cells = [loaded[name], of('off', name), of('on', name), added(name)].map((value) =>
      value.toFixed(1),
    )
    return `| ${[name, ...cells, `${((added(name) / loaded[name]) * 100).toFixed(1)} %`].join(' | ')} |`
  })
  const sum = (window: Window) => window.api + window.worker + window.redis
  const shares = pairs.map(({ off, on }) => (sum(on) - sum(off)) / sum(loaded))
  return `${machine}. ${options.rate} jobs/s asked and ${loaded.finished.toFixed(0)} finished under load; ${options.watchers} watching, ${options.rounds} rounds of twice ${options.windowMs / 1000} s.

| a second | under load | at rest | at rest, watched | what watching adds | of the load's |
| --- | ---: | ---: | ---: | ---: | ---: |
${rows.join('\n')}

api, worker and redis are CPU in ms of a core. Watching adds ${(median(shares) * 100).toFixed(1)} % to what all three take under load
(by round: ${shares.map((share) => `${(share * 100).toFixed(1)} %`).join(', ')}).
`
}

function writeConfig(upstreamUrl: string): string {
  const tenants = Array.from({ length: TENANTS }, (_, tenant) => `  t${tenant}: { keys: [${KEY}${tenant}] }`)
  return `
server: { port: 0 }
redis: { url: "\${REDIS_URL}" }
providers:
  sim:
    kind: openai-compatible
    base_url: ${upstreamUrl}
    limits: { requests_per_minute: 100000000, tokens_per_minute: 100000000000, max_concurrency: 64 }
    models:
      chat: { price: { input: 0.25, output: 2.00 } }
tenants:
${tenants.join('\n')}
  operator: { keys: [${ADMIN_KEY}], admin: true }
`
}
