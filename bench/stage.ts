import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../lib/embedded-redis.ts'
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

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url))

/** Starts a Redis, the upstream without latency or limits, and a pair of processes for each system. */
export async function openStage(options: { concurrency: number; profile: string | null }): Promise<Stage> {
  const { profile } = options
  const closers: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  async function start(name: string, args: string[], ready: RegExp, env: Record<string, string> = {}) {
    const child = await startChild({ name, args, ready, env, profile })
    closers.push(child.close)
    return child
  }
  /** One of Sluice's own processes, as its commands start it. */
  const startMain = (name: string, args: string[], ready: RegExp, env?: Record<string, string>) =>
    start(
      name,
      ['--import', new URL('./serve-usage.ts', import.meta.url).href, here('../main.ts'), ...args],
      ready,
      env,
    )

  try {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))
    // As durable as `npm start` has it. Rewriting the file in mid-round would fall on one system alone.
    const server = await startEmbeddedRedis({
      directory: join(folder, 'redis'),
      extraArgs: ['--auto-aof-rewrite-percentage', '0'],
    })
    closers.push(() => server.close())
    const redis = new Redis(server.url, { connectionName: 'bench' })
    closers.push(async () => redis.disconnect())

    const upstream = await startMain('upstream', ['simulator', '--port', '0'], /simulator: (\S+)/)
    const url = upstream.match[1]!
    const startQueue = async (kind: 'bare' | 'hand', workerArgs: string[]) => ({
      producer: await start(`${kind}-producer`, [here('queue-producer.ts'), kind, server.url], /ready/),
      worker: await start(
        `${kind}-worker`,
        [here('queue-worker.ts'), kind, server.url, ...workerArgs],
        /ready/,
      ),
    })
    const bare = await startQueue('bare', ['100'])
    const hand = await startQueue('hand', [String(options.concurrency), url])

    const path = join(folder, 'sluice.yaml')
    await writeFile(path, sluiceConfig(url, options.concurrency))
    const env = { REDIS_URL: server.url, NODE_ENV: 'production' }
    const startSluice = (role: 'api' | 'worker', ready: RegExp) =>
      startMain(`sluice-${role}`, [role, '--config', path], ready, env)
    const worker = await startSluice('worker', /"msg":"ready"/)
    const api = await startSluice('api', /"url":"([^"]+)","msg":"ready"/)
    return {
      redis,
      upstream: { ...upstream, url },
      bare,
      hand,
      sluice: { api, worker, url: api.match[1]! },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** Limits that are checked with every call and never bind, but for the calls at once. */
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
