import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { CHAT_MODEL } from '../bodies.ts'
import { type Child, startChild } from '../child.ts'
import type { DoorOptions } from './options.ts'
import { startPortkey } from './portkey.ts'

export type SystemName = 'upstream' | 'portkey' | 'sluice' | 'all' | 'hits' | 'anthropic'

/** One way to a chat completion. */
export type System = {
  name: SystemName
  title: string
  target(isStream: boolean): Target
  /** CPU time so far of each process between the client and the upstream, ms. */
  cpuMs(): Promise<Record<string, number>>
}

/** Where calls go, and what each of them says besides its text. */
export type Target = {
  url: string
  model: string
  headers: Record<string, string>
  isRepeated: boolean
  /** The API that it speaks. */
  api: 'openai' | 'anthropic'
}

export type Stage = { redis: Redis; systems: System[]; close(): Promise<void> }

/** Between two tokens of a streamed answer, ms: fast for a model, and slow enough for the first to stand alone. */
const TOKEN_MS = 2

/**
 * Starts two upstreams, for whole answers and for streams, and every system in processes of its own; each Sluice has
 * its own Redis.
 */
export async function openStage(options: DoorOptions, say: (line: string) => void): Promise<Stage> {
  const closers: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  const keep = <C extends Child>(child: C): C => {
    closers.push(child.close)
    return child
  }
  const startOwn = async (name: string, args: string[], ready: RegExp, env: Record<string, string> = {}) =>
    keep(
      await startChild({
        name,
        args: [
          '--import',
          new URL('../serve-usage.ts', import.meta.url).href,
          fileURLToPath(new URL('../../main.ts', import.meta.url)),
          ...args,
        ],
        ready,
        env,
        profile: options.profile,
      }),
    )
  const startUpstream = async (name: string, perToken: number) => {
    const latency = ['--latency', String(options.latencyMs), '--per-token', String(perToken)]
    const child = await startOwn(name, ['simulator', '--port', '0', ...latency], /simulator: (\S+)/)
    return child.match[1]!
  }

  try {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-door-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))
    const upstreams = {
      whole: await startUpstream('upstream', 0),
      streams: await startUpstream('upstream-streams', TOKEN_MS),
    }
    const upstreamOf = (isStream: boolean) => (isStream ? upstreams.streams : upstreams.whole)

    const config = join(folder, 'sluice.yaml')
    await writeFile(config, writeConfig(upstreams, options.concurrency))
    const startRedis = async (name: string) => {
      const server = await startEmbeddedRedis({
        directory: join(folder, name),
        extraArgs: ['--auto-aof-rewrite-percentage', '0'],
      })
      closers.push(() => server.close())
      const redis = new Redis(server.url, { connectionName: 'bench' })
      closers.push(async () => redis.disconnect())
      return { url: server.url, redis }
    }
    const startSluice = (name: string, role: 'api' | 'worker' | 'all', redisUrl: string) =>
      startOwn(
        name,
        [role, '--config', config],
        role === 'worker' ? /"msg":"ready"/ : /"url":"([^"]+)","msg":"ready"/,
        { REDIS_URL: redisUrl, NODE_ENV: 'production' },
      )
    const apart = await startRedis('redis')
    const worker = await startSluice('sluice-worker', 'worker', apart.url)
    const api = await startSluice('sluice-api', 'api', apart.url)
    const together = await startRedis('redis-all')
    const all = await startSluice('sluice-all', 'all', together.url)
    const portkey = options.withPortkey ? keep(await startPortkey(options.profile, say)) : null

    const sluiceCpu = async () => ({
      api: await api.cpuMs(),
      worker: await worker.cpuMs(),
      redis: await readCpu(apart.redis),
    })
    const allCpu = async () => ({ all: await all.cpuMs(), redis: await readCpu(together.redis) })
    const sluice = (
      child: Child,
      headers: Record<string, string>,
      isRepeated: boolean,
      api: Target['api'] = 'openai',
    ) => {
      return (isStream: boolean): Target => ({
        url: `${child.match[1]}/v1`,
        model: `${isStream ? 'streams' : 'whole'}/${CHAT_MODEL}`,
        headers,
        isRepeated,
        api,
      })
    }
    const uncached = { 'cache-control': 'no-store' }
    const systems: System[] = [
      {
        name: 'upstream',
        title: 'a. the upstream itself',
        target: (isStream) => ({
          url: upstreamOf(isStream),
          model: CHAT_MODEL,
          headers: {},
          isRepeated: false,
          api: 'openai',
        }),
        cpuMs: async () => ({}),
      },
      ...(portkey === null
        ? []
        : [
            {
              name: 'portkey' as const,
              title: 'b. Portkey, passing on',
              target: (isStream: boolean) => ({
                url: portkey.url,
                model: CHAT_MODEL,
                headers: {
                  authorization: 'Bearer none',
                  'x-portkey-provider': 'openai',
                  'x-portkey-custom-host': upstreamOf(isStream),
                },
                isRepeated: false,
                api: 'openai' as const,
              }),
              cpuMs: async () => ({ portkey: await portkey.cpuMs() }),
            },
          ]),
      {
        name: 'sluice',
        title: 'c. Sluice, api and worker',
        target: sluice(api, uncached, false),
        cpuMs: sluiceCpu,
      },
      {
        name: 'all',
        title: '   Sluice, all in one process',
        target: sluice(all, uncached, false),
        cpuMs: allCpu,
      },
      { name: 'hits', title: 'd. hits of its cache', target: sluice(api, {}, true), cpuMs: sluiceCpu },
      {
        name: 'anthropic',
        title: "e. Sluice, by Anthropic's door",
        // The same upstream: each message becomes a chat, and its answer a message.
        target: sluice(api, { ...uncached, 'anthropic-version': '2023-06-01' }, false, 'anthropic'),
        cpuMs: sluiceCpu,
      },
    ]
    return { redis: apart.redis, systems, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** CPU time of a Redis, ms. */
async function readCpu(redis: Redis): Promise<number> {
  const info = await redis.info('cpu')
  const read = (name: string) => Number(new RegExp(`^${name}:(.+)`, 'm').exec(info)?.[1])
  return (read('used_cpu_user') + read('used_cpu_sys')) * 1000
}

/** Limits that are checked with every call and never reached. */
function writeConfig(upstreams: { whole: string; streams: string }, concurrency: number): string {
  const limits = JSON.stringify({
    requests_per_minute: 100_000_000,
    tokens_per_minute: 100_000_000_000,
    max_concurrency: 2 * concurrency,
  })
  const provider = (name: string, url: string) => `
  ${name}:
    kind: openai-compatible
    base_url: ${url}
    limits: ${limits}
    models: { ${CHAT_MODEL}: { price: { input: 0.25, output: 2.00 } } }`
  return `
server: { port: 0 }
redis: { url: "\${REDIS_URL}" }
providers:${provider('whole', upstreams.whole)}${provider('streams', upstreams.streams)}
`
}
