import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { CHAT_MODEL, EMBEDDING_MODEL } from './bodies.ts'
import { type Child, startChild } from './child.ts'

/** Everything that runs during the bench, each in a process of its own. */
export type Stage = {
  redis: Redis
  upstream: Child & { url: string }
  bare: { producer: Child; worker: Child }
  hand: { producer: Child; worker: Child }
  sluice: { api: Child; worker: Child; url: string }
  close(): Promise<void>
}

/** Starts a Redis, the upstream without latency or limits, and a pair of processes for each system. */
export async function openStage(options: { concurrency: number; profile: string | null }): Promise<Stage> {
  const closers: (() => Promise<unknown>)[] = []
  const children: Child[] = []
  const close = async () => {
    await Promise.all(children.splice(0).map((child) => child.close()))
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  const start: Start = async (name, args, ready, env = {}) => {
    const child = await startChild({ name, args, ready, env, profile: options.profile })
    children.push(child)
    return child
  }

  try {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))
    // As durable as `npm start` makes it. A rewrite of the file in mid-round would cost one system alone.
    const server = await startEmbeddedRedis({
      directory: join(folder, 'redis'),
      extraArgs: ['--auto-aof-rewrite-percentage', '0'],
    })
    closers.push(() => server.close())
    const redis = new Redis(server.url, { connectionName: 'bench' })
    closers.push(async () => redis.disconnect())

    const upstream = await start('upstream', mainArgs('simulator', '--port', '0'), /simulator: (\S+)/)
    const url = upstream.match[1]!
    const config = join(folder, 'sluice.yaml')
    await writeFile(config, sluiceConfig(url, options.concurrency))
    const [bare, hand, sluice] = await all(
      startQueue(start, 'bare', [server.url, '100']),
      startQueue(start, 'hand', [server.url, String(options.concurrency), url]),
      startSluice(start, config, { REDIS_URL: server.url, NODE_ENV: 'production' }),
    )
    return { redis, upstream: { ...upstream, url }, bare, hand, sluice, close }
  } catch (error) {
    await close()
    throw error
  }
}

type Start = (name: string, args: string[], ready: RegExp, env?: Record<string, string>) => Promise<Child>

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url))

/** One of Sluice's own processes, started like its commands, which also reports its CPU time. */
function mainArgs(...args: string[]): string[] {
  return ['--import', new URL('./serve-usage.ts', import.meta.url).href, here('../main.ts'), ...args]
}

async function startQueue(start: Start, kind: 'bare' | 'hand', [redisUrl, ...rest]: [string, ...string[]]) {
  const [producer, worker] = await all(
    start(`${kind}-producer`, [here('queue-producer.ts'), kind, redisUrl], /ready/),
    start(`${kind}-worker`, [here('queue-worker.ts'), kind, redisUrl, ...rest], /ready/),
  )
  return { producer, worker }
}

async function startSluice(start: Start, config: string, env: Record<string, string>) {
  const [api, worker] = await all(
    start('sluice-api', mainArgs('api', '--config', config), /"url":"([^"]+)","msg":"ready"/, env),
    start('sluice-worker', mainArgs('worker', '--config', config), /"msg":"ready"/, env),
  )
  return { api, worker, url: api.match[1]! }
}

/** Like Promise.all, but it rejects when all have ended, so that the caller knows everything that it has to close. */
async function all<T extends readonly unknown[]>(...tasks: { [K in keyof T]: Promise<T[K]> }): Promise<T> {
  await Promise.allSettled(tasks)
  return (await Promise.all(tasks)) as unknown as T
}

/** Limits that are checked with every call and never reached, except for the calls at once. */
function sluiceConfig(upstreamUrl: string, concurrency: number): string {
  return `
server: { port: 0 }
redis: { url: "\${REDIS_URL}" }
providers:
  sim:
    kind: openai-compatible
    base_url: ${upstreamUrl}
    limits: { requests_per_minute: 100000000, tokens_per_minute: 100000000000, max_concurrency: ${concurrency} }
    models:
      ${CHAT_MODEL}: { price: { input: 0.25, output: 2.00 } }
      ${EMBEDDING_MODEL}:
        price: { input: 0.02 }
        coalesce: { max_inputs: 256, max_tokens: 100000, max_wait: 20ms }
`
}
