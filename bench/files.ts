/**
 * How much memory of the API and a worker files use, by the store that holds them: one large upload and its download, then a batch of
 * many lines. Both have to stay flat. `npm run bench:files -- --help` lists the options.
 */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { type Child, startChild } from './child.ts'
import { renderTable } from './limits/table.ts'
import type { Usage } from './serve-parent.ts'

const HELP = `npm run bench:files -- [options]

Exits 1 where a process takes more than 150 MiB beyond what it had before.

  --mib N          size of the upload (190, the most that is taken)
  --lines N        requests of the batch (50000)
  --stores LIST    of redis, folder, s3 (all); s3 needs what npm test installs, or an endpoint
  --endpoint URL   a store of S3's API with a bucket "sluice-bench", by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
  --help
`

const main = fileURLToPath(new URL('../main.ts', import.meta.url))
const MOST_GROWTH_MIB = 150
const MIB = 1024 * 1024
/** Between two looks at the memory, ms. */
const LOOK_MS = 100
const _MIB = 1024 * 1024
const BUCKET = 'sluice-bench'
const READY = /(?:"url":"([^"]+)",)?"msg":"ready"/
/** An S3 server that the tests have. */
const S3RVER = join(import.meta.dirname, '../test/clients/node_modules', '@20minutes/s3rver')

type S3 = { endpoint: string; key: string; secret: string }
type Row = { store: string; step: string; seconds: number; api: number; worker: number }

const { values } = parseArgs({
  options: {
    mib: { type: 'string', default: '190' },
    lines: { type: 'string', default: '50000' },
    stores: { type: 'string', default: 'redis,folder,s3' },
    endpoint: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) process.stdout.write(HELP)
else process.exitCode = (await run()) ? 0 : 1

/** True: memory stayed flat everywhere. */
async function run(): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-files-'))
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })]
  const rows: Row[] = []
  try {
    const upstream = await startChild({
      name: 'simulator',
      args: [main, 'simulator', '--port', '0'],
      ready: /simulator: (\S+)/,
      profile: null,
    })
    closers.push(upstream.close)
    for (const store of values.stores.split(',')) {
      const s3 = store === 's3' ? await openS3(folder, closers) : null
      if (store === 's3' && s3 === null) say('no s3: neither an endpoint nor a server of the tests')
      else rows.push(...(await measure(store, s3, join(folder, store), upstream.match[1]!)))
    }
  } finally {
    for (const close of closers.reverse()) await close()
  }
  const isFlat = rows.every(({ api, worker }) => Math.max(api, worker) <= MOST_GROWTH_MIB)
  process.stdout.write(
    `\n${renderTable(
      ['store', 'step', 'seconds', 'API: more memory, MiB', 'worker: more memory, MiB'],
      rows.map(({ store, step, seconds, api, worker }) => [
        store,
        step,
        String(seconds),
        String(api),
        String(worker),
      ]),
    )}\n${isFlat ? 'flat' : `NOT FLAT: more than ${MOST_GROWTH_MIB} MiB`}\n`,
  )
  return isFlat
}

async function openS3(folder: string, closers: (() => Promise<unknown>)[]): Promise<S3 | null> {
  const { AWS_ACCESS_KEY_ID: key = 'S3RVER', AWS_SECRET_ACCESS_KEY: secret = 'S3RVER' } = process.env
  if (values.endpoint !== undefined) return { endpoint: values.endpoint, key, secret }
  if (!existsSync(S3RVER)) return null
  const directory = join(folder, 'bucket')
  await mkdir(directory)
  const options = { directory, port: 0, silent: true, configureBuckets: [{ name: BUCKET }] }
  const server = await startChild({
    name: 's3',
    args: [
      '-e',
      `new (require(${JSON.stringify(S3RVER)}))(${JSON.stringify(options)}).run().then(({ port }) => console.log('port', port))`,
    ],
    ready: /port (\d+)/,
    profile: null,
  })
  closers.push(server.crash)
  return { endpoint: `http://127.0.0.1:${server.match[1]}`, key: 'S3RVER', secret: 'S3RVER' }
}

async function measure(store: string, s3: S3 | null, folder: string, upstreamUrl: string): Promise<Row[]> {
  const closers: (() => Promise<unknown>)[] = []
  try {
    await mkdir(folder)
    const redis = await startEmbeddedRedis({ directory: join(folder, 'redis') })
    closers.push(() => redis.close())
    const config = join(folder, 'sluice.yaml')
    await writeFile(config, writeConfig(store, s3, folder, upstreamUrl))
    const start = async (role: string) => {
      const child = await startChild({
        name: role,
        args: [
          '--max-semi-space-size=16',
          '--import',
          new URL('./serve-usage.ts', import.meta.url).href,
          main,
          role,
          '--config',
          config,
        ],
        env: { REDIS_URL: redis.url, NODE_ENV: 'production' },
        ready: READY,
        profile: null,
      })
      closers.push(child.close)
      return child
    }
    const api = await start('api')
    const worker = await start('worker')
    const url = api.match[1]!
    // What the first request loads is not part of the measurement.
    await download(url, await upload(url, [lineOf(0, 100)]))
    await runBatch(url, 100)

    const rows: Row[] = []
    const step = async <T>(name: string, act: () => Promise<T>): Promise<T> => {
      const before = await look(api, worker)
      const most = { ...before }
      const watch = setInterval(async () => {
        const now = await look(api, worker)
        most.api = Math.max(most.api, now.api)
        most.worker = Math.max(most.worker, now.worker)
      }, LOOK_MS)
      const since = performance.now()
      const answer = await act().finally(() => clearInterval(watch))
      const seconds = Math.round((performance.now() - since) / 100) / 10
      const row = {
        store,
        step: name,
        seconds,
        api: most.api - before.api,
        worker: most.worker - before.worker,
      }
      rows.push(row)
      say(`${store}: ${name} in ${seconds} s, ${row.api} MiB and ${row.worker} MiB more`)
      return answer
    }
    const mib = Number(values.mib)
    const id = await step(`upload of ${mib} MiB`, () => upload(url, largeContent(mib)))
    await step('its download', () => download(url, id))
    await step(`batch of ${values.lines} lines`, () => runBatch(url, Number(values.lines)))
    return rows
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

/** The memory that each takes from the machine now, MiB. */
async function look(api: Child, worker: Child): Promise<{ api: number; worker: number }> {
  const [one, other] = await Promise.all([api.ask<Usage>('usage'), worker.ask<Usage>('usage')])
  return { api: toMiB(one.rssBytes), worker: toMiB(other.rssBytes) }
}

function toMiB(bytes: number): number {
  return Math.round(bytes / MIB)
}

/** Text that no compression makes small. */
function largeContent(mib: number): string[] {
  return Array.from({ length: mib }, () =>
    Buffer.from(crypto.getRandomValues(new Uint8Array(65_536)))
      .toString('hex')
      .repeat(8),
  )
}

function lineOf(index: number, words: number): string {
  const body = {
    model: 'sim/chat',
    messages: [{ role: 'user', content: `number ${index} ${'word '.repeat(words)}` }],
  }
  return `${JSON.stringify({ custom_id: `line-${index}`, method: 'POST', url: '/v1/chat/completions', body })}\n`
}

async function upload(url: string, parts: string[]): Promise<string> {
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new Blob(parts), 'input.jsonl')
  return (await ask<{ id: string }>(`${url}/v1/files`, { method: 'POST', body: form })).id
}

/** Reads to the end; answers how many bytes there were. */
async function download(url: string, id: string): Promise<number> {
  const response = await fetch(`${url}/v1/files/${id}/content`)
  let bytes = 0
  for await (const chunk of response.body!) bytes += chunk.length
  if (bytes !== Number(response.headers.get('content-length'))) throw new Error(`${id} broke off`)
  return bytes
}

async function runBatch(url: string, lines: number): Promise<void> {
  const input = await upload(
    url,
    Array.from({ length: lines }, (_, index) => lineOf(index, 20)),
  )
  const create = { input_file_id: input, endpoint: '/v1/chat/completions', completion_window: '24h' }
  type Batch = { id: string; status: string; output_file_id: string; request_counts: { completed: number } }
  let batch = await ask<Batch>(`${url}/v1/batches`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(create),
  })
  while (batch.status !== 'completed') {
    if (['failed', 'expired', 'cancelled'].includes(batch.status))
      throw new Error(`the batch is ${batch.status}`)
    await sleep(250)
    batch = await ask<Batch>(`${url}/v1/batches/${batch.id}`, {})
  }
  if (batch.request_counts.completed !== lines) throw new Error('the batch misses answers')
  await download(url, batch.output_file_id)
}

async function ask<Answer>(url: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(url, init)
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return (await response.json()) as Answer
}

function writeConfig(store: string, s3: S3 | null, folder: string, upstreamUrl: string): string {
  const bucket =
    s3 === null
      ? ''
      : `s3: { bucket: ${BUCKET}, endpoint: "${s3.endpoint}", access_key_id: "${s3.key}", secret_access_key: "${s3.secret}" }`
  return `
server: { port: 0 }
redis: { url: "\${REDIS_URL}" }
files: { store: ${store}, folder: "${join(folder, 'files')}", ${bucket} }
worker: { spool: "${join(folder, 'spool')}" }
providers:
  sim:
    kind: openai-compatible
    base_url: ${upstreamUrl}
    limits: { requests_per_minute: 100000000, tokens_per_minute: 100000000000, max_concurrency: 256 }
    models: { chat: { price: { input: 0.25, output: 2.00 } } }
`
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
