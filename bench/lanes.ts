/**
 * What models that only "*" covers leave behind: `node bench/lanes.ts [NAMES]`. Each name gets a job; when all are done and deleted, the
 * commands a second and the memory of Redis must be within a tenth of what they were, also after a restart; kept events do not count.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { createSimulator } from '../simulator/simulator.ts'
import { startChild } from './child.ts'

const names = Number(process.argv[2] ?? 2500)
/** Jobs are kept for 30 s, lanes for 75 s without work, names for two minutes. */
const FORGOTTEN_MS = 200_000
const MEASURED_MS = 20_000
const MOST_MORE = 1.1
const EVENTS = 'sluice:{t:default}:events'

const folder = await mkdtemp(join(tmpdir(), 'sluice-lanes-'))
const simulator = createSimulator()
const upstream = await simulator.listen()
const server = await startEmbeddedRedis({ directory: join(folder, 'redis'), log: () => {} })
const redis = new Redis(server.url)
const config = join(folder, 'sluice.yaml')
await writeFile(
  config,
  `redis: { url: "${server.url}" }
jobs: { retain: 30s }
worker: { spool: "${folder}/spool" }
providers:
  sim: { kind: openai-compatible, base_url: "${upstream}", models: { "*": {} } }
`,
)

type Figures = { commands: number; memory: number; keys: number }

async function measure(what: string): Promise<Figures> {
  const count = async () => Number(/^total_commands_processed:(\d+)/m.exec(await redis.info('stats'))?.[1])
  const before = await count()
  await sleep(MEASURED_MS)
  const commands = ((await count()) - before) / (MEASURED_MS / 1000)
  // What is kept of events has its own time, and nothing to do with lanes.
  const kept = Number((await redis.call('MEMORY', 'USAGE', EVENTS, 'SAMPLES', '0')) ?? 0)
  const memory = Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]) - kept
  const keys = await redis.dbsize()
  console.log(
    `${what}: ${commands.toFixed(1)} commands a second, ${memory.toLocaleString('en')} B, ${keys} keys`,
  )
  return { commands, memory, keys }
}

const start = () =>
  startChild({
    name: 'all',
    args: ['main.ts', 'all', '--config', config, '--port', '0'],
    ready: /"url":"(http:[^"]+)","msg":"ready"/,
    profile: null,
  })

let service = await start()
let isGood = true
const compare = (before: Figures, after: Figures) => {
  isGood &&= after.commands <= before.commands * MOST_MORE && after.memory <= before.memory * MOST_MORE
}
try {
  // Scripts are loaded with their first use.
  await submit(['warm'])
  await sleep(FORGOTTEN_MS)
  const before = await measure('before')
  // In parts, for a machine that is busy with other things.
  for (let from = 0; from < names; from += 500)
    await submit(Array.from({ length: Math.min(500, names - from) }, (_, index) => `model-${from + index}`))
  await measure('all done, lanes still open')
  await sleep(FORGOTTEN_MS)
  compare(before, await measure('after'))
  await service.close()
  service = await start()
  await sleep(5_000)
  compare(before, await measure('after a restart'))
} finally {
  await service.close()
  redis.disconnect()
  await server.close()
  await simulator.close()
  await rm(folder, { recursive: true, force: true })
}
if (!isGood) {
  console.error('more than a tenth was left behind')
  process.exitCode = 1
}

async function submit(models: string[]): Promise<void> {
  const lines = models.map((model) =>
    JSON.stringify({
      type: 'chat',
      cache: 'off',
      body: { model: `sim/${model}`, messages: [{ role: 'user', content: 'hello' }] },
    }),
  )
  const response = await fetch(`${service.match[1]}/v1/jobs/bulk`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: lines.join('\n'),
  })
  const answers = (await response.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { id?: string })
  if (answers.some(({ id }) => id === undefined))
    throw new Error(`some jobs were refused: ${JSON.stringify(answers.find(({ id }) => id === undefined))}`)
  const last = answers.at(-1)!.id!
  await fetch(`${service.match[1]}/v1/jobs/${last}?wait=60`)
  const key = (status: string) => `sluice:{t:default}:status:${status}`
  while ((await redis.zcard(key('queued'))) + (await redis.zcard(key('running'))) > 0) await sleep(200)
}
