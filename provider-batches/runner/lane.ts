import { createWaker } from '../../lib/waker.ts'
import type { ProviderBatch } from '../batch.ts'
import { typeOf } from '../gathering.ts'
import { type HeldLane, LaneLostError } from '../store.ts'
import type { BatchLane, BatchRun, ProviderBatchDeps } from './deps.ts'
import { leaveOverdue, runAtSource } from './run.ts'

/** Share of a lease that must be left for a step. */
const MARGIN_SHARE = 1 / 3
/** Renewals within a lease. */
const RENEWALS = 5
/** Longest and shortest pause between two looks at waiting jobs, ms. */
const LOOK_MS = 1000
const MIN_LOOK_MS = 20
/** Pause of a batch after an error of its run, ms. */
const REST_MS = 5_000

export type LaneRun = {
  /** Call it when jobs were added. */
  wake(): void
  done: Promise<void>
}

/**
 * Works on the batches of a lane while this process holds its lease: sends jobs away whose time to leave has come, makes batches of jobs
 * that have waited long enough, and runs every open batch. Resolves when nothing is left, the lease is lost, or the signal aborts.
 */
export function runLane(deps: ProviderBatchDeps, held: HeldLane, stop: AbortSignal): LaneRun {
  const { store, onError } = deps
  const waker = createWaker()
  const lost = new AbortController()
  const signal = AbortSignal.any([stop, lost.signal])
  const running = new Map<string, Promise<void>>()
  const restUntil = new Map<string, number>()
  const failures = new Map<string, number>()
  let heldUntil = performance.now() + store.leaseMs

  const renewal = setInterval(() => {
    const since = performance.now()
    if (since > heldUntil - store.leaseMs * MARGIN_SHARE) return lost.abort(new LaneLostError())
    store.renew(held).then(
      () => {
        heldUntil = since + store.leaseMs
      },
      (error) => {
        if (error instanceof LaneLostError) lost.abort(error)
        else onError(error, `renewing the lease on the batches of ${held.lane}`)
      },
    )
  }, store.leaseMs / RENEWALS)
  signal.addEventListener('abort', () => waker.wake(), { once: true })

  function sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = setTimeout(end, Math.max(1, ms))
      signal.addEventListener('abort', end, { once: true })
    })
  }

  function start(batch: ProviderBatch, lane: BatchLane): void {
    if (running.has(batch.id) || (restUntil.get(batch.id) ?? 0) > performance.now()) return
    const run: BatchRun = { held, batch, lane, failures: failures.get(batch.id) ?? 0, signal, sleep }
    const done = runAtSource(deps, run)
      .then(() => {
        failures.delete(batch.id)
        restUntil.delete(batch.id)
      })
      .catch(async (error) => {
        if (signal.aborted) return
        if (error instanceof LaneLostError) return lost.abort(error)
        failures.set(batch.id, run.failures + 1)
        restUntil.set(batch.id, performance.now() + Math.min(REST_MS, 2 * lane.tier.poll))
        onError(error, `provider batch ${batch.id}`)
        // Deadlines do not wait for a provider that fails.
        await leaveOverdue(deps, run).catch((fault) => {
          if (!signal.aborted) onError(fault, `provider batch ${batch.id}`)
        })
      })
      .finally(() => {
        running.delete(batch.id)
        waker.wake()
      })
    running.set(batch.id, done)
  }

  /** Moves jobs that cannot wait longer to their lane's queue. `all`: the lane has no batches any more. */
  async function moveToQueue(now: number, all: boolean): Promise<void> {
    for (;;) {
      const leaving = await store.leaving(held, now, all)
      if (leaving.length === 0 || signal.aborted) return
      for (const { tenant, job, entry } of leaving) await deps.work.leaveBatch({ tenant, id: job, entry })
      await store.drop(held, leaving)
    }
  }

  /** Looks once. Returns the pause until the next look in ms, or null when nothing is left. */
  async function look(): Promise<number | null> {
    const lane = deps.laneOf(held.lane)
    const waiting = await store.look(held)
    const isClosed = lane === null || lane.isClosed
    await moveToQueue(waiting.now, isClosed)
    // Its batches go on here with the settings of before. Without any, another process may know the lane.
    if (lane === null) return running.size > 0 ? LOOK_MS : null
    const open = await store.open(held.lane)
    const { tier } = lane
    let next = Math.min(LOOK_MS, Math.max(MIN_LOOK_MS, tier.gather / 4))
    for (const one of isClosed ? [] : waiting.classes) {
      const readyAt = Math.max(waiting.holdUntil, one.count >= tier.max_lines ? 0 : one.since + tier.gather)
      if (readyAt > waiting.now) {
        next = Math.min(next, readyAt - waiting.now)
        continue
      }
      const made = { id: deps.newId(), class: one.name, type: typeOf(one.name) }
      const most = { lines: tier.max_lines, bytes: tier.max_bytes, queuedTokens: tier.max_queued_tokens }
      // If the provider's queue has no room for this class, later classes must not take the room that frees up.
      if (!(await store.cut(held, made, most))) break
      open.push((await store.get(held.lane, made.id))!)
    }
    for (const batch of open) start(batch, lane)
    if (open.length === 0 && !waiting.hasAny && running.size === 0) return null
    return Math.max(MIN_LOOK_MS, next)
  }

  async function loop(): Promise<void> {
    try {
      while (!signal.aborted) {
        const next = await look().catch((error) => {
          if (error instanceof LaneLostError) lost.abort(error)
          else onError(error, `looking at the batches of ${held.lane}`)
          return LOOK_MS
        })
        if (next === null) break
        if (!signal.aborted) await waker.sleep(next)
      }
    } finally {
      await Promise.allSettled(running.values())
      clearInterval(renewal)
      await store.release(held).catch((error) => onError(error, `releasing the batches of ${held.lane}`))
    }
  }

  return { wake: waker.wake, done: loop() }
}
