/**
 * How many bytes a job takes in Redis, all its keys together, and what of them each kind of key has:
 * `node bench/memory.ts [JOBS] [KIND]`, where KIND is a part of a kind's name. For docs/operating.md and docs/performance.md.
 * Each kind of job goes into an empty Redis of its own, as durable as that of `npm start`.
 */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { createSimulator } from '../simulator/simulator.ts'
import { startChild } from './child.ts'

type Kind = { name: string; job(number: number): object; isPaused?: boolean; answerTokens?: number }

const jobs = Number(process.argv[2] ?? 1000)
/** Without characters that JSON would write in more than one byte. */
const prose = readDocs().replace(/[^ -~]+|["\\]/g, ' ')
const wanted = process.argv[3] ?? ''

const kinds: Kind[] = [
  { name: 'request of 200 bytes, waiting', job: chatOf(200), isPaused: true },
  { name: 'request of 2 KB, answer of 1 KB', job: chatOf(2048), answerTokens: 132 },
  { name: 'chat of 50 words, waiting', job: chat(50), isPaused: true },
  { name: 'chat of 50 words', job: chat(50) },
  { name: '… streamed', job: chat(50, { stream: true }) },
  { name: '… of 500 words', job: chat(500) },
  {
    name: 'embedding of 1,536 dimensions',
    job: (number) => ({ type: 'embedding', body: { model: 'sim/embed', input: write(number, 50) } }),
  },
]

const folder = await mkdtemp(join(tmpdir(), 'sluice-memory-'))
try {
  for (const [at, kind] of kinds.entries()) {
    if (kind.name.includes(wanted)) await measure(kind, join(folder, String(at)))
  }
} finally {
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

/**
 * A body of so many bytes with English text from this repository's documentation, from another place for each job.
 */
function chatOf(bytes: number) {
  return (number: number) => {
    const body = { model: 'sim/chat', messages: [{ role: 'user', content: '' }] }
    const left = bytes - JSON.stringify(body).length
    const at = (number * 7919) % (prose.length - left)
    body.messages[0]!.content = prose.slice(at, at + left)
    return { type: 'chat', body }
  }
}

/** Pages without texts that the simulator takes as instructions. */
function readDocs(): string {
  const pages = ['concepts', 'reliability', 'rate-limits', 'security', 'scaling']
  return pages.map((page) => readFileSync(new URL(`../docs/${page}.md`, import.meta.url), 'utf8')).join(' ')
}

/** Words in random order, other ones for each job. */
function write(number: number, words: number): string {
  return [
    number,
    ...Array.from({ length: words }, (_, at) => `word${(number * 7919 + at * 104_729) % 9973}`),
  ].join(' ')
}

async function measure(
  { name, job, isPaused = false, answerTokens = 100 }: Kind,
  directory: string,
): Promise<void> {
  const simulator = createSimulator({ outputTokens: answerTokens })
  const upstream = await simulator.listen()
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
    // The work after a job's end: entries are acknowledged, permits are settled.
    await sleep(3000)
    const kindsOfKeys = await addUp(client)
    const grown = (await readUsed(client)) - before
    const each = (total: number) => Math.round(total / jobs).toLocaleString('en')
    const total = [...kindsOfKeys.values()].reduce((sum, bytes) => sum + bytes, 0)
    const kept = kindsOfKeys.get('answer') ?? 0
    console.log(
      `${name}: ${each(total - kept)} B, answers ${each(kept)} B, together ${each(total)} B; ` +
        `used_memory grew by ${each(grown)} B a job`,
    )
    for (const [key, bytes] of [...kindsOfKeys].sort(([, one], [, other]) => other - one)) {
      if (bytes / jobs >= 1) console.log(`  ${each(bytes).padStart(8)}  ${key}`)
    }
  } finally {
    client.disconnect()
    await service.close()
    await redis.close()
    await simulator.close()
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

/** `MEMORY USAGE` of the keys of each kind. */
async function addUp(client: Redis): Promise<Map<string, number>> {
  const sums = new Map<string, number>()
  for (let cursor = '0', isFirst = true; isFirst || cursor !== '0'; isFirst = false) {
    const [next, keys] = await client.scan(cursor, 'COUNT', 1000)
    cursor = next
    const sizes = await Promise.all(keys.map((key) => client.memory('USAGE', key, 'SAMPLES', 0)))
    for (const [at, size] of sizes.entries()) {
      const kind = keys[at]!.replace(/^[^}]*}:/, '')
        .replace(/job_\w+/, '<id>')
        .replace(/^(answer|flight|followers):.*/, '$1')
      sums.set(kind, (sums.get(kind) ?? 0) + (size ?? 0))
    }
  }
  return sums
}
