/**
 * How many pictures a second go through the service and into their files, by the store that holds them: jobs come at a rate, and an upstream
 * answers each with a picture of some size. `npm run bench:pictures -- --help` lists the options.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { startChild } from './child.ts'
import { renderTable } from './limits/table.ts'
import { readCounts } from './redis-meter.ts'

const HELP = `npm run bench:pictures -- [options]

Exits 1 where a store takes less than 95 % of the rate.

  --rate N         pictures a second (100)
  --seconds N      for so long (20)
  --kib N          bytes of a picture (256)
  --stores LIST    of redis, folder (folder)
  --door           clients wait at /v1/images/generations and get base64, in place of jobs
  --profile DIR    writes a V8 CPU profile of API and worker there; bench/self-time.ts reads them
  --help
`

const main = fileURLToPath(new URL('../main.ts', import.meta.url))
const USAGE = new URL('./serve-usage.ts', import.meta.url).href
const READY = /(?:"url":"([^"]+)",)?"msg":"ready"/
/** Everything else in the bench's own process, which uses the machine too. */
const BENCH = 'upstream and clients'
const LEAST_SHARE = 0.95

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '20' },
    kib: { type: 'string', default: '256' },
    stores: { type: 'string', default: 'folder' },
    door: { type: 'boolean', default: false },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) process.stdout.write(HELP)
else process.exitCode = (await run()) ? 0 : 1

type Row = { store: string; rate: number; p50: number; p95: number; cpuMs: Record<string, number> }

/** True: every store kept up. */
async function run(): Promise<boolean> {
  const rows: Row[] = []
  for (const store of values.stores.split(',')) rows.push(await measure(store))
  const parts = Object.keys(rows[0]?.cpuMs ?? {})
  const table = renderTable(
    ['store', 'pictures a second', 'p50, ms', 'p95, ms', ...parts.map((part) => `CPU of ${part}, ms each`)],
    rows.map(({ store, rate, p50, p95, cpuMs }) => [
      ...[store, rate.toFixed(1), String(p50), String(p95)],
      ...parts.map((part) => cpuMs[part]!.toFixed(2)),
    ]),
  )
  const synced = (await timeSyncs(Number(values.kib))).toFixed(1)
  process.stdout.write(
    `\n${table}\n\nOne file of ${values.kib} KiB after the other is on this disk in ${synced} ms (written, synced).\n`,
  )
  return rows.every(({ rate }) => rate >= Number(values.rate) * LEAST_SHARE)
}

/** An upstream that answers each request with the same picture. */
async function startPainter(kib: number) {
  const picture = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), randomBytes(kib * 1024)])
  const answer = JSON.stringify({ created: 1, data: [{ b64_json: picture.toString('base64') }] })
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(answer)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}/v1`, close: async () => void server.close() }
}

async function measure(store: string): Promise<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-pictures-'))
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })]
  try {
    const painter = await startPainter(Number(values.kib))
    closers.push(painter.close)
    const redis = await startEmbeddedRedis({ directory: join(folder, 'redis') })
    closers.push(() => redis.close())
    const config = join(folder, 'sluice.yaml')
    await writeFile(config, writeConfig(store, folder, painter.url))
    const start = async (role: string) => {
      const args = ['--import', USAGE, main, role, '--config', config]
      const env = { REDIS_URL: redis.url, NODE_ENV: 'production' }
      const profile = values.profile ?? null
      const child = await startChild({ name: role, args, env, ready: READY, profile })
      closers.push(child.close)
      return child
    }
    const api = await start('api')
    const url = api.match[1]!
    const worker = await start('worker')
    const meter = new Redis(redis.url)
    closers.push(async () => meter.disconnect())
    const readCpu = async (): Promise<Record<string, number>> => ({
      worker: await worker.cpuMs(),
      api: await api.cpuMs(),
      redis: (await readCounts(meter)).cpuMs,
      [BENCH]: process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000,
    })
    const send = values.door ? openDoor(url) : openJobs(url)
    await send.begin(20, 'warm')
    await send.finish('warm')
    const before = await readCpu()
    const { rate, seconds } = { rate: Number(values.rate), seconds: Number(values.seconds) }
    const since = performance.now()
    for (let second = 0; second < seconds; second++) {
      await send.begin(rate, 'measured')
      await sleep(Math.max(0, since + (second + 1) * 1000 - performance.now()))
    }
    await send.finish('measured')
    const taken = (performance.now() - since) / 1000
    const after = await readCpu()
    const cpuMs = Object.fromEntries(
      Object.entries(after).map(([part, ms]) => [part, (ms - before[part]!) / (rate * seconds)]),
    )
    return { store, rate: (rate * seconds) / taken, ...(await send.readLatencies()), cpuMs }
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

type Clients = {
  /** Requests this many pictures. */
  begin(count: number, group: string): Promise<void>
  /** Resolves when all of them are there. */
  finish(group: string): Promise<void>
  /** From the request to the picture, ms. */
  readLatencies(): Promise<{ p50: number; p95: number }>
}

function composeBody(group: string, at: number): object {
  return { model: 'sim/painter', prompt: `${group} ${performance.now()} ${at}` }
}

/** Clients that submit jobs and come for them later. */
function openJobs(url: string): Clients {
  return {
    async begin(count, group) {
      const lines = Array.from({ length: count }, (_, at) =>
        JSON.stringify({ type: 'image', body: composeBody(group, at), group, cache: 'off' }),
      )
      await ask(`${url}/v1/jobs/bulk`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson' },
        body: lines.join('\n'),
      })
    },
    async finish(group) {
      for (;;) {
        const { counts, total } = JSON.parse(await ask(`${url}/v1/groups/${group}`, {}))
        if (counts.failed > 0) throw new Error(`${counts.failed} pictures failed`)
        if (counts.completed === total) return
        await sleep(50)
      }
    },
    /** Of the last thousand. */
    async readLatencies() {
      const { data } = JSON.parse(await ask(`${url}/v1/jobs?group=measured&limit=1000`, {})) as {
        data: { created_at: string; finished_at: string }[]
      }
      return toPercentiles(
        data.map(({ created_at, finished_at }) => Date.parse(finished_at) - Date.parse(created_at)),
      )
    },
  }
}

/** Clients that wait for their pictures. */
function openDoor(url: string): Clients {
  const pending = new Set<Promise<void>>()
  let spans: number[] = []
  return {
    async begin(count, group) {
      if (group === 'measured' && pending.size === 0) spans = []
      for (let at = 0; at < count; at++) {
        const since = performance.now()
        const asked = ask(`${url}/v1/images/generations`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
          body: JSON.stringify(composeBody(group, at)),
        }).then(() => {
          spans.push(Math.round(performance.now() - since))
          pending.delete(asked)
        })
        pending.add(asked)
        asked.catch(() => {}) // awaited by `finish`
      }
    },
    finish: async () => void (await Promise.all(pending)),
    readLatencies: async () => toPercentiles(spans),
  }
}

/** The time that the disk needs to sync a file, ms: the median of thirty. */
async function timeSyncs(kib: number): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-syncs-'))
  const content = randomBytes(kib * 1024)
  const times: number[] = []
  for (let one = 0; one < 30; one++) {
    const since = performance.now()
    const file = await open(join(folder, String(one)), 'wx')
    await file.write(content)
    await file.sync()
    await file.close()
    times.push(performance.now() - since)
  }
  await rm(folder, { recursive: true })
  return times.sort((a, b) => a - b)[15]!
}

function toPercentiles(spans: readonly number[]): { p50: number; p95: number } {
  const sorted = spans.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { p50: at(0.5), p95: at(0.95) }
}

async function ask(url: string, init: RequestInit): Promise<string> {
  const response = await fetch(url, init)
  const text = await response.text()
  if (!response.ok) throw new Error(`${url}: ${response.status} ${text}`)
  return text
}

function writeConfig(store: string, folder: string, upstreamUrl: string): string {
  return `
server: { port: 0 }
redis: { url: "\${REDIS_URL}" }
files: { store: ${store}, folder: "${join(folder, 'files')}", max_bytes_per_tenant: 100GiB }
worker: { spool: "${join(folder, 'spool')}" }
providers:
  sim:
    kind: openai-compatible
    base_url: ${upstreamUrl}
    limits: { max_concurrency: 64 }
    models: { painter: {} }
`
}
