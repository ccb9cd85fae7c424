import { setTimeout as sleep } from 'node:timers/promises'
import type { Settings } from './fault.ts'
import type { Load } from './load.ts'
import { killHolders, POISON } from './poison-worker.ts'
import { block, blockMs, freeze } from './silence-workers.ts'
import type { Stage, Worker } from './stage.ts'
import { until, within } from './wait.ts'

/** What can happen to a stage at any moment, by the names of the faults that test each of them alone. */
export const BLOWS = [
  'worker-kill',
  'worker-kill-stored',
  'worker-freeze',
  'worker-block',
  'worker-term',
  'worker-poison',
  'redis-kill',
  'redis-stop',
  'redis-freeze',
  'redis-full',
  'redis-cut',
  'api-kill',
  'provider-storm',
] as const
export type Blow = (typeof BLOWS)[number]

/** A tapped stage under load, and its current state. */
export type Scene = {
  stage: Stage
  load: Load
  random: () => number
  settings: Settings
  /** When workers were killed, Unix ms. */
  killedAt: number[]
  /** Workers that are frozen or blocked now. */
  silent: Set<Worker>
  /** Whether a job that kills its workers is in the queue. */
  isPoisoned: boolean
  /** Blows that go on beside others; the end of the scene waits for them. */
  lasting: Promise<unknown>[]
}

const CALL_MS = 20_000
const STORED_MS = 60_000

/** Strikes once; resolves when the next blow may come. */
export async function applyBlow(blow: Blow, scene: Scene): Promise<void> {
  const { stage, random, settings, killedAt } = scene
  switch (blow) {
    case 'worker-kill':
      await until(() => isUnderWay(stage), CALL_MS, 'a call under way')
      killedAt.push(Date.now())
      return replace(scene, pickWorker(scene), 'SIGKILL')
    case 'worker-kill-stored': {
      const worker = pickWorker(scene)
      if (await catchResult(worker, 'after')) killedAt.push(Date.now())
      return replace(scene, worker, 'SIGKILL')
    }
    case 'worker-term':
      return replace(scene, pickWorker(scene), 'SIGTERM')
    case 'worker-freeze':
      return silence(scene, freeze, settings.stalledAfterMs + 5000 * random())
    case 'worker-block':
      return silence(scene, block, blockMs(settings))
    case 'worker-poison':
      return poison(scene)
    case 'api-kill':
      await stage.end(pick(stage.apis, random), 'SIGKILL')
      return void (await stage.startApi())
    case 'redis-kill':
      return void (await stage.redis.kill())
    case 'redis-freeze':
      return void (await stage.redis.freeze(1000 + 3000 * random()))
    case 'redis-stop':
      return void (await stage.redis.halt(1000 + 2000 * random()))
    case 'redis-full':
      return void (await stage.redis.fill(() => sleep(1000 + 2000 * random())))
    case 'redis-cut': {
      const worker = pickWorker(scene)
      await catchResult(worker, random() < 0.5 ? 'before' : 'after')
      worker.tap!.cut()
      await sleep(200 + 1800 * random())
      return worker.tap!.mend()
    }
    case 'provider-storm':
      await stage.simulator.setFaults([{ kind: '429', retry_after: 500 }])
      await sleep(1000 + 3000 * random())
      return stage.simulator.setFaults([])
  }
}

function pick<T>(list: readonly T[], random: () => number): T {
  return list[Math.floor(random() * list.length)]!
}

function pickWorker({ stage, silent, random }: Scene): Worker {
  const awake = stage.workers.filter((worker) => !silent.has(worker))
  return pick(awake.length > 0 ? awake : stage.workers, random)
}

async function isUnderWay({ simulator }: Stage): Promise<true | null> {
  return (await simulator.state()).in_flight > 0 ? true : null
}

/** False if the worker stored nothing for long, because another blow may have ended it. */
async function catchResult(worker: Worker, moment: 'before' | 'after'): Promise<boolean> {
  const caught = within(worker.tap!.catchResult(moment), STORED_MS, 'storing a result')
  return Promise.race([caught.then(() => true), worker.exited.then(() => false)]).catch(() => false)
}

/** Ends a worker and starts another one, unless another blow has done so. */
async function replace(scene: Scene, worker: Worker, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  const { stage } = scene
  if (!stage.workers.includes(worker)) return
  await stage.end(worker, signal)
  await stage.startWorker()
}

function silence(scene: Scene, way: typeof freeze, ms: number): void {
  const { silent, lasting } = scene
  if (silent.size > 0) return
  const worker = pickWorker(scene)
  silent.add(worker)
  lasting.push(way(worker, ms).finally(() => silent.delete(worker)))
}

function poison(scene: Scene): void {
  const { stage, load, settings, lasting } = scene
  if (scene.isPoisoned) return
  scene.isPoisoned = true
  const job = load.add(POISON)
  const killed = killHolders(stage, () => job.id, settings)
  lasting.push(
    killed.finally(() => {
      scene.isPoisoned = false
    }),
  )
}
