/**
 * The memory that the API and a worker take from the machine under a steady load of every kind: bulk uploads, single jobs,
 * calls whose client waits, streams, repeated calls. It must be small and, once it has settled, flat.
 * `npm run bench:memory -- --help` lists the options. What a job takes in Redis is bench/memory.ts.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { Agent, request } from 'undici'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { CHAT_MODEL, chatBody, chatLines } from './bodies.ts'
import { type Child, startChild } from './child.ts'
import { renderTable } from './limits/table.ts'
import { type Machine, readCommit, readMachine } from './machine.ts'
import type { Usage } from './serve-parent.ts'
import { median } from './statistics.ts'

const HELP = `npm run bench:memory -- [options]

Exits 1 where the API or the worker takes more than 300 MiB, or grows from the second fifth of the run to the last.

  --rate N       jobs a second (500)
  --seconds N    length of the load (600)
  --out DIR      where the results are written (default bench/results; shorter runs than a minute write none without it)
  --help
`

/** Ticks of the load in a second. */
const TICKS = 10
/** Of each tick's jobs the share that comes in each way; the rest in one bulk upload. */
const SHARES = { single: 0.3, whole: 0.15, stream: 0.05, repeated: 0.1 }
/** Different bodies that repeated calls have. */
const REPEATED = 50
/** Requests at once; beyond, a tick is left out, because the machine does not keep up. */
const MOST_UNDER_WAY = 400
const MOST_MIB = 300
/**
 * The most by which the median of the last fifth may exceed that of the second: a twentieth, or what V8 still
 * compiles and collects.
 */
const MOST_GROWTH = { share: 0.05, mib: 20 }

type Options = { rate: number; seconds: number; out: string | null }
/** Every second, MiB. */
type Sample = { api: number; worker: number; apiHeap: number; workerHeap: number }
type Part = 'api' | 'worker'
type Row = {
  part: Part
  start: number
  early: number
  late: number
  most: number
  heapLate: number
  isFlat: boolean
}
type Result = {
  at: string
  commit: string
  machine: Machine
  loadAfter: number
  options: Options
  jobsPerSecond: number
  leftOut: number
  rows: Row[]
  samples: Sample[]
}

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '500' },
    seconds: { type: 'string', default: '600' },
    out: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) process.stdout.write(HELP)
else {
  const seconds = Number(values.seconds)
  const folder = fileURLToPath(new URL('./results', import.meta.url))
  const result = await run({
    rate: Number(values.rate),
    seconds,
    out: values.out ?? (seconds < 60 ? null : folder),
  })
  const report = render(result)
  process.stdout.write(`\n${report}`)
  if (result.options.out !== null) await write(resolve(result.options.out), result, report)
  if (result.rows.some(({ most, isFlat }) => most > MOST_MIB || !isFlat)) process.exitCode = 1
}

async function run(options: Options): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-resident-'))
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })]
  try {
    const { url, redis, api, worker } = await openStage(folder, closers)
    const machine = await readMachine(redis)
    const load = startLoad(url, options.rate)
    const samples: Sample[] = []
    const since = performance.now()
    for (let second = 1; second <= options.seconds; second++) {
      await sleep(Math.max(0, since + second * 1000 - performance.now()))
      samples.push(await readSample(api, worker))
      if (second % 10 === 0) {
        const { api, worker } = samples.at(-1)!
        process.stderr.write(`${second} s: api ${api} MiB, worker ${worker} MiB, ${load.sent} jobs\n`)
      }
    }
    const jobsPerSecond = Math.round((load.sent * 1000) / (performance.now() - since))
    await load.stop()
    return {
      at: new Date().toISOString(),
      commit: readCommit(),
      machine,
      loadAfter: Number(loadavg()[0]!.toFixed(2)),
      options,
      jobsPerSecond,
      leftOut: load.leftOut,
      rows: (['api', 'worker'] as const).map((part) => summarize(part, samples)),
      samples,
    }
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

async function openStage(folder: string, closers: (() => Promise<unknown>)[]) {
  const server = await startEmbeddedRedis({ directory: join(folder, 'redis') })
  closers.push(() => server.close())
  const redis = new Redis(server.url, { connectionName: 'bench' })
  closers.push(async () => redis.disconnect())
  const start = async (name: string, args: string[], ready: RegExp) => {
    const child = await startChild({
      name,
      // As the npm scripts start it.
      args: [
        '--max-semi-space-size=16',
        '--import',
        new URL('./serve-usage.ts', import.meta.url).href,
        fileURLToPath(new URL('../main.ts', import.meta.url)),
        ...args,
      ],
      env: { REDIS_URL: server.url, NODE_ENV: 'production' },
      ready,
      profile: null,
    })
    closers.push(child.close)
    return child
  }
  const upstream = await start(
    'simulator',
    ['simulator', '--port', '0', '--latency', '50'],
    /simulator: (\S+)/,
  )
  const config = join(folder, 'sluice.yaml')
  // Ended jobs are deleted after a minute, so that the store settles as well.
  await writeFile(
    config,
    `
server: { port: 0 }
redis: { url: "\${REDIS_URL}" }
jobs: { retain: 60s }
cache: { ttl: 60s }
worker: { spool: "${folder}/spool" }
providers:
  sim:
    kind: openai-compatible
    base_url: ${upstream.match[1]!}
    limits: { requests_per_minute: 100000000, tokens_per_minute: 100000000000, max_concurrency: 128 }
    models: { ${CHAT_MODEL}: { price: { input: 0.25, output: 2.00 } } }
`,
  )
  const worker = await start('worker', ['worker', '--config', config], /"msg":"ready"/)
  const api = await start('api', ['api', '--config', config], /"url":"([^"]+)","msg":"ready"/)
  return { url: api.match[1]!, redis, api, worker }
}

function startLoad(url: string, rate: number) {
  const model = `sim/${CHAT_MODEL}`
  const agent = new Agent({ connections: 64, keepAliveTimeout: 60_000 })
  const underWay = new Set<Promise<void>>()
  const load = { sent: 0, leftOut: 0, stop }
  let number = REPEATED

  async function post(path: string, body: object | Buffer, jobs: number): Promise<void> {
    const answer = await request(url + path, {
      dispatcher: agent,
      method: 'POST',
      headers: { 'content-type': Buffer.isBuffer(body) ? 'application/x-ndjson' : 'application/json' },
      body: Buffer.isBuffer(body) ? body : JSON.stringify(body),
    })
    const text = await answer.body.text()
    if (answer.statusCode >= 300) throw new Error(`${path}: ${answer.statusCode} ${text.slice(0, 500)}`)
    load.sent += jobs
  }
  function send(path: string, body: object | Buffer, jobs = 1): void {
    if (underWay.size >= MOST_UNDER_WAY) {
      load.leftOut += jobs
      return
    }
    const sending = post(path, body, jobs).finally(() => underWay.delete(sending))
    underWay.add(sending)
  }
  /** How many of this tick's jobs come in one way. */
  const count = (share: number) => Math.round((rate / TICKS) * share)

  const timer = setInterval(() => {
    for (let at = 0; at < count(SHARES.single); at++)
      send('/v1/jobs', { type: 'chat', body: chatBody(model, number++) })
    for (let at = 0; at < count(SHARES.whole); at++) send('/v1/chat/completions', chatBody(model, number++))
    for (let at = 0; at < count(SHARES.stream); at++)
      send('/v1/chat/completions', { ...chatBody(model, number++), stream: true })
    for (let at = 0; at < count(SHARES.repeated); at++)
      send('/v1/chat/completions', chatBody(model, number++ % REPEATED))
    const rest = count(1 - Object.values(SHARES).reduce((sum, share) => sum + share, 0))
    send('/v1/jobs/bulk', chatLines(number, rest), rest)
    number += rest
  }, 1000 / TICKS)

  async function stop(): Promise<void> {
    clearInterval(timer)
    await Promise.all(underWay)
    await agent.close()
  }
  return load
}

async function readSample(api: Child, worker: Child): Promise<Sample> {
  const [ofApi, ofWorker] = await Promise.all([api.ask<Usage>('usage'), worker.ask<Usage>('usage')])
  const toMib = (bytes: number) => Math.round(bytes / 2 ** 20)
  return {
    api: toMib(ofApi.rssBytes),
    worker: toMib(ofWorker.rssBytes),
    apiHeap: toMib(ofApi.heapBytes),
    workerHeap: toMib(ofWorker.heapBytes),
  }
}

function summarize(part: Part, samples: readonly Sample[]): Row {
  const fifth = Math.max(1, Math.floor(samples.length / 5))
  const medianOf = (name: keyof Sample, from: number) =>
    Math.round(median(samples.slice(from, from + fifth).map((sample) => sample[name])))
  const [early, late] = [medianOf(part, fifth), medianOf(part, samples.length - fifth)]
  return {
    part,
    start: samples[0]![part],
    early,
    late,
    most: Math.max(...samples.map((sample) => sample[part])),
    heapLate: medianOf(part === 'api' ? 'apiHeap' : 'workerHeap', samples.length - fifth),
    isFlat: late - early <= Math.max(MOST_GROWTH.mib, early * MOST_GROWTH.share),
  }
}

function render({ machine, options, rows, ...result }: Result): string {
  return [
    `# Resident memory, ${result.at.slice(0, 10)}, commit ${result.commit}`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}; Node ${machine.node}, ` +
      `Redis ${machine.redis}; load ${machine.loadBefore} before and ${result.loadAfter} after.`,
    `${options.seconds} s of ${options.rate} jobs a second, of which ${result.jobsPerSecond} a second were taken; ` +
      `${result.leftOut} were not sent, for ${MOST_UNDER_WAY} requests were under way. MiB; medians of a fifth of the run each.`,
    renderTable(
      ['', 'first second', 'second fifth', 'last fifth', 'most', 'heap, last fifth', `≤ ${MOST_MIB}`, 'flat'],
      rows.map((row) => [
        row.part,
        ...[row.start, row.early, row.late, row.most, row.heapLate].map(String),
        row.most <= MOST_MIB ? 'PASS' : 'FAIL',
        row.isFlat ? 'PASS' : 'FAIL',
      ]),
    ),
    '',
  ].join('\n\n')
}

async function write(folder: string, result: Result, report: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, `memory-${result.at.slice(0, 10)}-${result.commit}`)
  const out = { ...result, options: { rate: result.options.rate, seconds: result.options.seconds } }
  await writeFile(`${path}.json`, `${JSON.stringify(out)}\n`)
  await writeFile(`${path}.md`, report)
  process.stderr.write(`written: ${path}.md and .json\n`)
}
