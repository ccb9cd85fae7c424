/**
 * A batch of 50,000 lines through real processes, with a kill -9 of the API and of each worker in the middle of it.
 * `npm run bench:batch -- --help` lists the options.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { type Child, startChild } from './child.ts'
import type { Health } from './serve-health.ts'

const HELP = `npm run bench:batch -- [options]

  --lines N       requests of the batch (50000)
  --type TYPE     chat or embedding (chat)
  --no-kill       let every process live
  --help
`

type Options = { lines: number; type: 'chat' | 'embedding'; kill: boolean }
type Sight = { name: string; health: Health }
type BatchAnswer = {
  id: string
  status: string
  output_file_id: string | null
  error_file_id: string | null
  request_counts: { total: number; completed: number; failed: number }
  usage: object
}

/** One line in this many is one that its provider refuses. */
const BAD_EVERY = 1000
const POLL_MS = 250
const READY = /(?:"url":"([^"]+)",)?"msg":"ready"/
const OVER = ['completed', 'failed', 'expired', 'cancelled']

const { values } = parseArgs({
  options: {
    lines: { type: 'string', default: '50000' },
    type: { type: 'string', default: 'chat' },
    'no-kill': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) process.stdout.write(HELP)
else {
  const type = values.type === 'embedding' ? 'embedding' : 'chat'
  process.exitCode = (await run({ lines: Number(values.lines), type, kill: !values['no-kill'] })) ? 0 : 1
}

/** True: every line was answered once, and correctly. */
async function run(options: Options): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-batch-'))
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })]
  try {
    const redis = await startEmbeddedRedis({ directory: join(folder, 'redis') })
    closers.push(() => redis.close())
    const processes = createProcesses(join(folder, 'sluice.yaml'), redis.url)
    closers.push(processes.close)
    const simulator = await processes.start('simulator', ['simulator', '--port', '0'], /simulator: (\S+)/)
    await writeFile(join(folder, 'sluice.yaml'), writeConfig(simulator.match[1]!))
    const startRole = (name: string, role: 'api' | 'worker') =>
      processes.start(name, [role, '--config', join(folder, 'sluice.yaml')], READY)
    let url = (await startRole('api 1', 'api')).match[1]!
    await startRole('worker 1', 'worker')
    await startRole('worker 2', 'worker')

    const since = performance.now()
    const id = await submit(url, options)
    say(`${options.lines} lines are a batch after ${seconds(since)} s`)
    const steps = options.kill
      ? [
          { at: 0.25, victim: 'api 1', role: 'api' as const, heir: 'api 2' },
          { at: 0.4, victim: 'worker 1', role: 'worker' as const, heir: 'worker 3' },
          { at: 0.6, victim: 'worker 2', role: 'worker' as const, heir: 'worker 4' },
        ]
      : []
    let batch = await get(url, id)
    for (let shown = 0; !OVER.includes(batch.status); batch = await get(url, id)) {
      const { completed, failed } = batch.request_counts
      const share = (completed + failed) / options.lines
      if (share >= (shown + 1) / 10) {
        shown = Math.floor(share * 10)
        say(`${shown * 10} % after ${seconds(since)} s`)
      }
      const step = steps[0]
      if (step && share >= step.at) {
        steps.shift()
        await processes.crash(step.victim)
        say(`killed ${step.victim} at ${Math.round(share * 100)} %`)
        const heir = await startRole(step.heir, step.role)
        if (step.role === 'api') url = heir.match[1]!
      }
      await sleep(POLL_MS)
    }
    const took = seconds(since)
    const found = await countResults(url, batch)
    await processes.look()
    return report(options, batch, found, processes.sights, took)
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

/** Starts processes and records how each of them fares, until it is killed. */
function createProcesses(config: string, redisUrl: string) {
  const alive = new Map<string, Child>()
  const sights: Sight[] = []
  async function look(name: string, child: Child): Promise<void> {
    sights.push({ name, health: await child.ask<Health>('health') })
  }
  return {
    sights,
    async start(name: string, args: string[], ready: RegExp): Promise<Child> {
      const child = await startChild({
        name: name.replace(' ', '-'),
        args: [
          // The same as npm scripts and the container (scripts/bootstrap.mjs).
          '--max-semi-space-size=16',
          '--import',
          new URL('./serve-health.ts', import.meta.url).href,
          fileURLToPath(new URL('../main.ts', import.meta.url)),
          ...args,
        ],
        env: { REDIS_URL: redisUrl, SLUICE_CONFIG: config, NODE_ENV: 'production' },
        ready,
        profile: null,
      })
      // The time to load its modules is not part of the measurement.
      await child.ask('restart')
      alive.set(name, child)
      return child
    },
    async crash(name: string): Promise<void> {
      const child = alive.get(name)!
      await look(name, child)
      alive.delete(name)
      await child.crash()
    },
    async look(): Promise<void> {
      for (const [name, child] of alive) await look(name, child)
    },
    async close(): Promise<void> {
      await Promise.all([...alive.values()].map((child) => child.close()))
    },
  }
}

async function submit(url: string, { lines, type }: Options): Promise<string> {
  const endpoint = type === 'chat' ? '/v1/chat/completions' : '/v1/embeddings'
  const parts: string[] = []
  for (let index = 0; index < lines; index++) {
    const text = `number ${index}${index % BAD_EVERY === 0 ? ' [[fault:400]]' : ''}`
    const body =
      type === 'chat'
        ? { model: 'sim/chat', messages: [{ role: 'user', content: text }] }
        : { model: 'sim/embed', input: text }
    parts.push(`${JSON.stringify({ custom_id: `line-${index}`, method: 'POST', url: endpoint, body })}\n`)
  }
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new Blob(parts), 'input.jsonl')
  const file = await ask<{ id: string }>(`${url}/v1/files`, { method: 'POST', body: form })
  const batch = await ask<BatchAnswer>(`${url}/v1/batches`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ input_file_id: file.id, endpoint, completion_window: '24h' }),
  })
  return batch.id
}

async function get(url: string, id: string): Promise<BatchAnswer> {
  return ask(`${url}/v1/batches/${id}`, {})
}

async function ask<Answer>(url: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(url, init)
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return (await response.json()) as Answer
}

async function countResults(url: string, batch: BatchAnswer) {
  const seen = new Set<string>()
  let lines = 0
  const count = async (id: string | null) => {
    if (id === null) return 0
    const response = await fetch(`${url}/v1/files/${id}/content`)
    let own = 0
    for await (const line of createInterface({ input: Readable.fromWeb(response.body as never) })) {
      seen.add((JSON.parse(line) as { custom_id: string }).custom_id)
      own++
    }
    lines += own
    return own
  }
  return {
    output: await count(batch.output_file_id),
    errors: await count(batch.error_file_id),
    lines,
    customIds: seen.size,
  }
}

function report(
  options: Options,
  batch: BatchAnswer,
  found: Awaited<ReturnType<typeof countResults>>,
  sights: Sight[],
  took: number,
): boolean {
  const bad = Math.ceil(options.lines / BAD_EVERY)
  const { completed, failed } = batch.request_counts
  const isRight =
    batch.status === 'completed' &&
    completed === options.lines - bad &&
    failed === bad &&
    found.output === completed &&
    found.errors === failed &&
    found.customIds === options.lines
  const rows = sights.map(
    ({ name, health: { peakMiB, maxDelayMs, p99DelayMs, cpuMs } }) =>
      `| ${name} | ${peakMiB} | ${maxDelayMs} | ${p99DelayMs} | ${(cpuMs / 1000).toFixed(1)} |`,
  )
  process.stdout.write(`
${options.lines} ${options.type} lines in ${took} s, ${Math.round(options.lines / took)} lines/s; the batch is ${batch.status}
counts: ${completed} completed, ${failed} failed; ${found.output} lines of output, ${found.errors} of errors, ${found.customIds} custom ids
${isRight ? 'every line was answered once, and correctly' : 'LINES ARE MISSING OR DOUBLE'}

| process | most memory, MiB | longest stall, ms | 99 % of stalls, ms | CPU, s |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`)
  return isRight
}

function writeConfig(upstreamUrl: string): string {
  return `
server: { port: 0 }
redis: { url: "\${REDIS_URL}" }
providers:
  sim:
    kind: openai-compatible
    base_url: ${upstreamUrl}
    limits: { requests_per_minute: 100000000, tokens_per_minute: 100000000000, max_concurrency: 256 }
    models:
      chat: { price: { input: 0.25, output: 2.00 } }
      embed: { price: { input: 0.02 }, coalesce: { max_inputs: 256, max_tokens: 100000, max_wait: 20ms } }
`
}

function seconds(since: number): number {
  return Math.round((performance.now() - since) / 100) / 10
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
