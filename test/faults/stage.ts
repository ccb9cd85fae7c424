import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BilledCall, SimulatorState } from '../../providers/simulator/state.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'
import { type Child, type Exit, startChild } from './child.ts'
import { get } from './client.ts'
import { type BreakableRedis, startBreakableRedis } from './redis-server.ts'

export type StageOptions = {
  apis?: number
  workers?: number
  /** Command line of the simulator. */
  simulator?: string[]
  /** Limits of the lane `sim/chat`, as YAML in one line. */
  limits?: string
  stalledAfterMs: number
}

/** A deployment to break: a Redis with a file of its own, the simulator, API and worker processes. */
export type Stage = {
  redis: BreakableRedis
  /** Those that run. */
  apis: Child[]
  workers: Child[]
  /** Base URLs of the API processes that run. */
  urls(): string[]
  /** Ends one by a signal and resolves when it is gone. The others stay. */
  end(child: Child, signal: 'SIGKILL' | 'SIGTERM'): Promise<Exit>
  startApi(): Promise<Child>
  startWorker(): Promise<Child>
  simulator: {
    state(): Promise<SimulatorState>
    /** The bill. */
    calls(): Promise<BilledCall[]>
  }
  close(): Promise<void>
}

/** Starts everything on free ports and in a folder that goes with it. */
export async function openStage(options: StageOptions): Promise<Stage> {
  const closers: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    const folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'sluice-faults-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))
    const redis = await startBreakableRedis(join(folder, 'redis'))
    closers.push(() => redis.close())
    const upstream = await startChild(
      ['main.ts', 'simulator', '--port', '0', ...(options.simulator ?? [])],
      /simulator: (http:\S+)\/v1/,
    )
    closers.push(() => upstream.stop())
    const base = upstream.match[1]!
    const path = join(folder, 'sluice.yaml')
    await writeFile(path, writeConfig(redis.url, base, options))

    const apis: Child[] = []
    const workers: Child[] = []
    closers.push(() => Promise.all([...apis, ...workers].map((child) => child.stop())))
    const start = async (role: 'api' | 'worker', children: Child[], ready: RegExp) => {
      const child = await startChild(['main.ts', role, '--config', path, '--port', '0'], ready)
      children.push(child)
      return child
    }
    const startApi = () => start('api', apis, /"url":"(http:[^"]+)","msg":"ready"/)
    const startWorker = () => start('worker', workers, /"role":"worker".*"msg":"ready"/)
    const starting = await Promise.allSettled([
      ...Array.from({ length: options.apis ?? 1 }, startApi),
      ...Array.from({ length: options.workers ?? 2 }, startWorker),
    ])
    for (const outcome of starting) if (outcome.status === 'rejected') throw outcome.reason

    return {
      redis,
      apis,
      workers,
      urls: () => apis.map((api) => api.match[1]!),
      async end(child, signal) {
        // Clients learn of its end by its silence: it is struck off afterwards.
        if (signal === 'SIGKILL') child.kill(signal)
        const exit = await (signal === 'SIGTERM' ? child.stop() : child.exited)
        for (const children of [apis, workers]) {
          const index = children.indexOf(child)
          if (index >= 0) children.splice(index, 1)
        }
        return exit
      },
      startApi,
      startWorker,
      simulator: {
        state: async () => (await get<SimulatorState>(`${base}/_sim/state`))!,
        calls: async () => (await get<{ calls: BilledCall[] }>(`${base}/_sim/calls`))!.calls,
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

function writeConfig(redis: string, upstream: string, options: StageOptions): string {
  return `
redis: { url: "${redis}" }
providers:
  sim:
    kind: openai-compatible
    base_url: ${upstream}/v1
    api_key: a-key-for-faults
    timeout: 60s
    limits: ${options.limits ?? '{ max_concurrency: 200 }'}
    retry: { max_attempts: 8, base: 100ms, cap: 1s }
    models:
      chat: { price: { input: 1, output: 2 } }
jobs: { stalled_after: ${options.stalledAfterMs}ms }
`
}
