import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import type { SimulatorOptions } from '../simulator/options.ts'
import { createSimulator, type Simulator } from '../simulator/simulator.ts'
import { type Child, startChild } from './child.ts'

/** One process with all roles, a Redis of its own, and simulators in the bench's own process. */
export type Service<Upstream extends string> = {
  url: string
  redisUrl: string
  /** Answers `health` and `restart`, as serve-health.ts has them. */
  child: Child
  simulators: Record<Upstream, Simulator>
  /** Addresses of the simulators. */
  urls: Record<Upstream, string>
  close(): Promise<void>
}

export type ServiceOptions<Upstream extends string> = {
  /** The name of its folder. */
  name: string
  upstreams: Record<Upstream, SimulatorOptions>
  /** Its configuration except for the port and the Redis; `urls` are those of the simulators. */
  configure(urls: Record<Upstream, string>): object
}

const READY = /(?:"url":"([^"]+)",)?"msg":"ready"/

/** Starts everything; if a part cannot start, the others end again. */
export async function openService<Upstream extends string>({
  name,
  upstreams,
  configure,
}: ServiceOptions<Upstream>): Promise<Service<Upstream>> {
  const folder = await mkdtemp(join(tmpdir(), `sluice-${name}-`))
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })]
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    const redis = await startEmbeddedRedis({ directory: join(folder, 'redis'), log: () => {} })
    closers.push(() => redis.close())
    const simulators = {} as Record<Upstream, Simulator>
    const urls = {} as Record<Upstream, string>
    for (const upstream of Object.keys(upstreams) as Upstream[]) {
      const simulator = createSimulator(upstreams[upstream])
      urls[upstream] = await simulator.listen(0, '127.0.0.1')
      closers.push(() => simulator.close())
      simulators[upstream] = simulator
    }
    const config = join(folder, 'sluice.yaml')
    const base = { server: { port: 0 }, redis: { url: redis.url } }
    await writeFile(config, JSON.stringify({ ...base, ...configure(urls) }))
    const child = await startChild({
      name: 'sluice',
      args: [
        '--import',
        new URL('./serve-health.ts', import.meta.url).href,
        fileURLToPath(new URL('../main.ts', import.meta.url)),
        ...['all', '--config', config],
      ],
      env: { NODE_ENV: 'production' },
      ready: READY,
      profile: null,
    })
    closers.push(() => child.close())
    return { url: child.match[1]!, redisUrl: redis.url, child, simulators, urls, close }
  } catch (error) {
    await close()
    throw error
  }
}
