import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FaultRule } from '../../simulator/options.ts'
import type { BilledCall, SimulatorState } from '../../simulator/state.ts'
import { type Relay, routeThrough, startRelay } from '../helpers/relay.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'
import { type Child, type Exit, startChild } from './child.ts'
import { get, keyOf } from './client.ts'
import { type BreakableRedis, startBreakableRedis } from './redis-server.ts'
import { openTap, type Tap } from './tap.ts'

const blockOnSignal = new URL('./block-on-signal.mjs', import.meta.url).href
const shiftClock = new URL('./shift-clock.mjs', import.meta.url).href

export type StageOptions = {
  apis?: number
  workers?: number
  /** Command line of the simulator. */
  simulator?: string[]
  /** Models of the provider `sim`; default: `chat`. A worker serves all of them unless it is started for some. */
  models?: readonly string[]
  /** Limits of each lane, as YAML in one line. */
  limits?: string
  stalledAfterMs: number
  /** Whether workers reach Redis through taps. */
  tapped?: boolean
  /** Whether every process reaches Redis through the stage's relay. */
  relayed?: boolean
  /** Whether the processes start before Redis; `redis.start` starts it. */
  isRedisLate?: boolean
  /** Each with a key (`keyOf`); default: none, and no key is needed. */
  tenants?: readonly string[]
  /** How long a worker's event loop stands still when it gets SIGUSR2. */
  blockMs?: number
  /**
   * How far the clock of each process is off, ms, in the order of their start; a worker that replaces another has its
   * clock.
   */
  shiftsMs?: { apis: readonly number[]; workers: readonly number[] }
  /** `tiers` of each model, as YAML in one line. */
  tiers?: string
  /** How long ended jobs are kept, as written in the configuration. */
  retain?: string
  /** Whether files are in a folder that all processes share; default: in Redis. */
  keepsFilesInFolder?: boolean
  /** URL of the database that ended jobs move to, a second after their end. */
  history?: string
  /** The checkout whose program the first processes run; default: this one. */
  checkout?: string
}

/** `tap`: the way to its Redis, on a tapped stage. */
export type Worker = Child & { tap: Tap | null }

/** A deployment to break: a Redis with a file of its own, the simulator, API and worker processes. */
export type Stage = {
  redis: BreakableRedis
  /** The way to Redis for all processes, on a relayed stage. */
  relay: Relay | null
  /** The API processes that run. */
  apis: Child[]
  workers: Worker[]
  /** Base URLs of the API processes that run. */
  urls(): string[]
  /** Ends one with a signal and resolves when it is gone. The others stay. */
  end(child: Child, signal: 'SIGKILL' | 'SIGTERM'): Promise<Exit>
  /** @param checkout whose program it runs; default: this one */
  startApi(checkout?: string): Promise<Child>
  /** Starts a worker in the place of one that ended, with its folder and its tap, or in a new place. */
  startWorker(models?: readonly string[], checkout?: string): Promise<Worker>
  /** The folder of files, on a stage that keeps them in a folder. */
  filesFolder: string
  simulator: {
    /** Base URL of its API, without `/v1`. */
    url: string
    state(): Promise<SimulatorState>
    /** The bill. */
    calls(): Promise<BilledCall[]>
    /** Its faults from now on, besides those that prompts ask for. */
    setFaults(rules: FaultRule[]): Promise<void>
    /** How its batch APIs behave from now on. */
    setBatches(settings: object): Promise<void>
  }
  close(): Promise<void>
}

/** Where a worker runs, and after its end the next one. */
type Place = { folder: string; tap: Tap | null; shiftMs: number; worker: Worker | 'starting' | null }

/** Starts everything on free ports and in a folder that is deleted with it. */
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
    const relay = options.relayed ? await startRelay(redis.url) : null
    closers.push(async () => relay?.close())
    const redisUrl = relay === null ? redis.url : routeThrough(relay, redis.url)
    if (options.isRedisLate) await redis.stop()
    const upstream = await startChild(
      ['simulator', '--port', '0', ...(options.simulator ?? [])],
      /simulator: (http:\S+)\/v1/,
    )
    closers.push(() => upstream.stop())
    const base = upstream.match[1]!
    const models = options.models ?? ['chat']
    const filesFolder = join(folder, 'files')

    const apis: Child[] = []
    const workers: Worker[] = []
    const places: Place[] = []
    closers.push(() => Promise.all(places.map((place) => place.tap?.close())))
    closers.push(() => Promise.all([...apis, ...workers].map((child) => child.stop())))

    let apisStarted = 0
    const startApi = async (checkout?: string) => {
      const path = join(folder, 'api.yaml')
      await writeFile(path, writeConfig({ redis: redisUrl, upstream: base, models, filesFolder }, options))
      const ready = /"url":"(http:[^"]+)","msg":"ready"/
      const shiftMs = options.shiftsMs?.apis[apisStarted++ % options.shiftsMs.apis.length] ?? 0
      const loaded = preloads({ shiftMs })
      const api = await startChild(['api', '--config', path, '--port', '0'], ready, {
        cwd: folder,
        ...loaded,
        ...(checkout === undefined ? {} : { checkout }),
      })
      apis.push(api)
      return api
    }

    const startWorker = async (some: readonly string[] = models, checkout?: string) => {
      const place = await takePlace()
      try {
        place.tap?.mend()
        const path = join(place.folder, 'worker.yaml')
        const redis = place.tap?.url ?? redisUrl
        await writeFile(path, writeConfig({ redis, upstream: base, models: some, filesFolder }, options))
        const child = await startChild(['worker', '--config', path], /"role":"worker".*"msg":"ready"/, {
          cwd: place.folder,
          ...preloads({ shiftMs: place.shiftMs, blockMs: options.blockMs }),
          ...(checkout === undefined ? {} : { checkout }),
        })
        const worker = { ...child, tap: place.tap }
        place.worker = worker
        workers.push(worker)
        return worker
      } catch (error) {
        place.worker = null
        throw error
      }
    }

    const takePlace = async () => {
      const free = places.find((place) => place.worker === null)
      if (free) {
        free.worker = 'starting'
        return free
      }
      const shifts = options.shiftsMs?.workers
      const place: Place = {
        folder: join(folder, `worker-${places.length}`),
        tap: null,
        shiftMs: shifts?.[places.length % shifts.length] ?? 0,
        worker: 'starting',
      }
      places.push(place)
      await mkdir(place.folder)
      if (options.tapped) place.tap = await openTap(redis.url)
      return place
    }

    const starting = await Promise.allSettled([
      ...Array.from({ length: options.apis ?? 1 }, () => startApi(options.checkout)),
      ...Array.from({ length: options.workers ?? 2 }, () => startWorker(models, options.checkout)),
    ])
    for (const outcome of starting) if (outcome.status === 'rejected') throw outcome.reason

    return {
      redis,
      relay,
      apis,
      workers,
      urls: () => apis.map((api) => api.match[1]!),
      async end(child, signal) {
        // Clients learn of its end only by its silence, so it is taken off the list afterwards.
        if (signal === 'SIGKILL') child.kill(signal)
        const exit = await (signal === 'SIGTERM' ? child.stop() : child.exited)
        for (const children of [apis, workers] as Child[][]) {
          const index = children.indexOf(child)
          if (index >= 0) children.splice(index, 1)
        }
        for (const place of places) if (place.worker === child) place.worker = null
        return exit
      },
      startApi,
      startWorker,
      filesFolder,
      simulator: {
        url: base,
        state: async () => (await get<SimulatorState>(`${base}/_sim/state`))!,
        calls: async () => (await get<{ calls: BilledCall[] }>(`${base}/_sim/calls`))!.calls,
        async setFaults(rules) {
          const body = JSON.stringify(rules)
          const response = await fetch(`${base}/_sim/faults`, { method: 'POST', body })
          if (!response.ok) throw new Error(`the simulator answered ${response.status}`)
        },
        async setBatches(settings) {
          const body = JSON.stringify(settings)
          const response = await fetch(`${base}/_sim/batches`, { method: 'POST', body })
          if (!response.ok) throw new Error(`the simulator answered ${response.status}`)
        },
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** Modules that are loaded into a process to make something wrong with it. */
function preloads({ shiftMs, blockMs }: { shiftMs: number; blockMs?: number | undefined }) {
  const preload: string[] = []
  const env: Record<string, string> = {}
  if (blockMs !== undefined) {
    preload.push(blockOnSignal)
    env.SLUICE_BLOCK_MS = String(blockMs)
  }
  if (shiftMs !== 0) {
    preload.push(shiftClock)
    env.SHIFT_CLOCK_MS = String(shiftMs)
  }
  return { preload, env }
}

function writeConfig(
  places: { redis: string; upstream: string; models: readonly string[]; filesFolder: string },
  options: StageOptions,
): string {
  const { redis, upstream, models, filesFolder } = places
  const tenants = (options.tenants ?? []).map((tenant) => `${tenant}: { keys: [${keyOf(tenant)}] }`)
  const tiers = options.tiers === undefined ? '' : `, tiers: ${options.tiers}`
  const lanes = models.map((model) => `${model}: { price: { input: 1, output: 2 }${tiers} }`)
  const history = options.history === undefined ? '' : `history: { url: "${options.history}", keep: 1d }`
  const jobs = [
    `stalled_after: ${options.stalledAfterMs}ms`,
    ...(options.retain === undefined ? [] : [`retain: ${options.retain}`]),
    ...(options.history === undefined ? [] : ['hot: 1s', 'retain: 1d']),
  ]
  return `
${history}
server: { max_streams_per_tenant: 10000 }
redis: { url: "${redis}" }
${options.keepsFilesInFolder ? `files: { store: folder, folder: "${filesFolder}" }` : ''}
${tenants.length === 0 ? '' : `tenants: { ${tenants.join(', ')} }`}
providers:
  sim:
    kind: openai-compatible
    base_url: ${upstream}/v1
    api_key: a-key-for-faults
    timeout: 60s
    limits: ${options.limits ?? '{ max_concurrency: 200 }'}
    retry: { max_attempts: 8, base: 100ms, cap: 1s }
    models: { ${lanes.join(', ')} }
jobs: { ${jobs.join(', ')} }
`
}
