/**
 * How many bytes a job takes in Redis, all its keys together: `node bench/memory.ts [JOBS]`. For docs/operating.md.
 * Each kind of job goes into an empty Redis of its own, as durable as that of `npm start`.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { createSimulator } from '../simulator/simulator.ts'
import { startChild } from './child.ts'

type Kind = { name: string; job(number: number): object; isPaused?: boolean }

const jobs = Number(process.argv[2] ?? 2000)

const kinds: Kind[] = [
  { name: 'chat of 50 words, waiting', job: chat(50), isPaused: true },
  { name: 'chat of 50 words', job: chat(50) },
  { name: '… streamed', job: chat(50, { stream: true }) },
  { name: '… of 500 words', job: chat(500) },
  {
    name: 'embedding of 1,536 dimensions',
    job: (number) => ({ type: 'embedding', body: { model: 'sim/embed', input: write(number, 50) } }),
  },
]

const simulator = createSimulator({ outputTokens: 100 })
const upstream = await simulator.listen()
const folder = await mkdtemp(join(tmpdir(), 'sluice-memory-'))
try {
  for (const [at, kind] of kinds.entries()) await measure(kind, join(folder, String(at)))
} finally {
  await simulator.close()
  await rm(folder, { recursive: true, force: true })
}

function chat(words: number, members: object = {}) {
  return (number: number) => ({
    type: 'chat',
    body: {
      model: 'sim/chat',
      messages: [{ role: 'user', content: write(number, words) }],
      ...members,
    },
  })
}

/** Words in random order, other ones for each job. */
function write(number: number, words: number): string {
  return [
    number,
    ...Array.from({ length: words }, (_, at) => `word${(number * 7919 + at * 104_729) % 9973}`),
  ].join(' ')
}

async function measure({ name, job, isPaused = false }: Kind, directory: string): Promise<void> {
  const redis = await startEmbeddedRedis({ directory, log: () => {} })
  const config = `${directory}.yaml`
  await writeFile(
    config,
    `redis: { url: "${redis.url}" }
worker: { spool: "${directory}-spool" }
providers:
  sim: { kind: openai-compatible, base_url: "${upstream}", models: { chat: {}, embed: { coalesce: {} } } }
`,
  )
  const service = await startChild({
    name: 'all',
    args: ['main.ts', 'all', '--config', config, '--port', '0'],
    ready: /"url":"(http:[^"]+)","msg":"ready"/,
    profile: null,
  })
  const url = service.match[1]!
  const client = new Redis(redis.url)
  try {
    if (isPaused) await post(`${url}/v1/lanes/sim/chat/pause`)
    const before = await readUsed(client)
    await post(
      `${url}/v1/jobs/bulk`,
      Array.from({ length: jobs }, (_, number) => job(number)),
    )
    const status = isPaused ? 'queued' : 'completed'
    while ((await client.zcard(`sluice:{t:default}:status:${status}`)) < jobs) await sleep(200)
    // What follows a job's end: entries that are acknowledged, permits that are settled.
    await sleep(3000)
    const { bytes, kept } = await addUp(client)
    const grown = (await readUsed(client)) - before
    const each = (total: number) => Math.round(total / jobs).toLocaleString('en')
    console.log(
      `${name}: ${each(bytes - kept)} B, kept answers ${each(kept)} B; used_memory grew by ${each(grown)} B a job`,
    )
  } finally {
    client.disconnect()
    await service.close()
    await redis.close()
  }
}

async function post(url: string, body?: unknown): Promise<void> {
  const json =
    body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(url, { method: 'POST', ...json })
  const text = await response.text()
  if (!response.ok || text.includes('"error":{'))
    throw new Error(`${url}: ${response.status} ${text.slice(0, 500)}`)
}

async function readUsed(client: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await client.info('memory'))?.[1])
}

/** `MEMORY USAGE` of every key, of those of kept answers besides. */
async function addUp(client: Redis): Promise<{ bytes: number; kept: number }> {
  const sum = { bytes: 0, kept: 0 }
  for (let cursor = '0', isFirst = true; isFirst || cursor !== '0'; isFirst = false) {
    const [next, keys] = await client.scan(cursor, 'COUNT', 1000)
    cursor = next
    const sizes = await Promise.all(keys.map((key) => client.memory('USAGE', key, 'SAMPLES', 0)))
    for (const [at, size] of sizes.entries()) {
      sum.bytes += size ?? 0
      if (keys[at]!.includes(':answer:')) sum.kept += size ?? 0
    }
  }
  return sum
}
