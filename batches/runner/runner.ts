import { randomUUID } from 'node:crypto'
import { type OnUpkeepFailure, visitAll } from '../../lib/visit-all.ts'
import { createWaker, type Waker } from '../../lib/waker.ts'
import { type HeldBatch, LeaseLostError } from '../work.ts'
import { type BatchDeps, RunStoppedError } from './lines.ts'
import { runBatch } from './run.ts'

/** Longest pause between two looks for batches, ms. */
const IDLE_MS = 1000
/** Maximum number of batches that run in one process. */
const MOST_RUNS = 16
/** Share of a lease that must be left before a step that the store cannot refuse. */
const MARGIN_SHARE = 1 / 3
/** Renewals within a lease: two may fail before the margin is reached. */
const RENEWALS = 5
/** Pause of a batch after an error of its run, ms. */
const REST_MS = 5_000

export type BatchRunnerDeps = Omit<BatchDeps, 'window'> & {
  tenants: () => Promise<string[]>
  /** Maximum number of open jobs of the tenant; null: it is no longer configured. */
  maxQueued: (tenant: string) => number | null
  /** Maximum number of open jobs of a batch whose lines wait for a provider batch; null: they do not wait for one. */
  gatherWindow: (model: string) => number | null
  /** Called for each tenant and batch that could not be checked. */
  onFailure?: OnUpkeepFailure
}

export type BatchRunner = {
  /** Call it when a batch was created or has to be cancelled. */
  wake(id: string): void
  /** Stops. Other workers continue the batches. */
  stop(): Promise<void>
}

type RunningBatch = { waker: Waker; done: Promise<void> }

/** Maximum number of open jobs of all batches of a tenant together. */
const WINDOW = 1000

/**
 * Runs batches. Each batch runs in one process at a time: the one that holds its lease. When a worker dies, the lease ends and another
 * worker continues the batch.
 */
export function startBatchRunner(deps: BatchRunnerDeps): BatchRunner {
  const { work, onError } = deps
  const now = () => performance.now()
  const runs = new Map<string, RunningBatch>()
  const counts = new Map<string, number>()
  const restUntil = new Map<string, number>()
  const waker = createWaker()
  let stopping = false

  /** Half of the tenant's limit, shared by its batches, so that its other jobs have room. */
  function window(tenant: string, model: string | null): number | null {
    const most = deps.maxQueued(tenant)
    if (most === null) return null
    const wanted = (model === null ? null : deps.gatherWindow(model)) ?? WINDOW
    return Math.max(
      1,
      Math.floor(Math.min(Math.max(WINDOW, wanted), most / 2) / Math.max(1, counts.get(tenant) ?? 1)),
    )
  }

  async function look(): Promise<void> {
    const waiting: { tenant: string; ids: string[] }[] = []
    const read = async (tenant: string) => {
      const ids = await work.active(tenant)
      counts.set(tenant, ids.length)
      waiting.push({ tenant, ids: ids.filter((id) => !runs.has(id) && (restUntil.get(id) ?? 0) <= now()) })
    }
    const fail = (error: unknown, tenant: string, id?: string) =>
      deps.onFailure?.({ task: 'batches', tenant, ...(id === undefined ? {} : { id }), error })
    await visitAll(await deps.tenants(), read, fail, { endsWithStore: true })
    // Starts one batch of each tenant, then a second of each: many batches of one tenant do not delay the first of another.
    for (let turn = 0; waiting.some(({ ids }) => ids.length > turn); turn++) {
      for (const { tenant, ids } of waiting) {
        const id = ids[turn]
        if (id === undefined || runs.size >= MOST_RUNS || stopping) continue
        try {
          const held = await work.claim(tenant, id, randomUUID())
          if (held !== null) start(held)
        } catch (error) {
          fail(error, tenant, id)
        }
      }
    }
  }

  function start(held: HeldBatch): void {
    const own = createWaker()
    const done = run(held, own).finally(() => runs.delete(held.id))
    runs.set(held.id, { waker: own, done })
  }

  async function run(held: HeldBatch, own: Waker): Promise<void> {
    const { leaseMs } = work
    let heldUntil = now() + leaseMs
    let isLost = false
    const renewal = setInterval(() => {
      const since = now()
      work.renew(held).then(
        () => {
          heldUntil = since + leaseMs
        },
        (error) => {
          if (error instanceof LeaseLostError) isLost = true
          else onError(error, `renewing the lease of batch ${held.id}`)
        },
      )
    }, leaseMs / RENEWALS)
    const check = () => {
      if (stopping) throw new RunStoppedError()
      if (isLost || now() > heldUntil - leaseMs * MARGIN_SHARE) throw new LeaseLostError()
    }
    try {
      await runBatch({ ...deps, window }, { held, check }, own)
      restUntil.delete(held.id)
    } catch (error) {
      if (!(error instanceof LeaseLostError) && !(error instanceof RunStoppedError)) {
        restUntil.set(held.id, now() + REST_MS)
        onError(error, `batch ${held.id}`)
      }
    } finally {
      clearInterval(renewal)
      await work.release(held).catch((error) => onError(error, `releasing batch ${held.id}`))
    }
  }

  async function loop(): Promise<void> {
    while (!stopping) {
      await look().catch((error) => onError(error, 'looking for batches'))
      if (!stopping) await waker.sleep(IDLE_MS)
    }
  }
  const looping = loop()

  return {
    wake(id) {
      const running = runs.get(id)
      if (running) running.waker.wake()
      else waker.wake()
    },
    async stop() {
      stopping = true
      waker.wake()
      for (const { waker: own } of runs.values()) own.wake()
      await looping
      await Promise.all([...runs.values()].map(({ done }) => done))
    },
  }
}
