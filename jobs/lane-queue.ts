// One lane's queue as a worker uses it. Only queue.ts, queue-scripts.ts and this file know BullMQ.
import { type Job, Worker } from 'bullmq'
import { runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'
import { repeat } from '../lib/repeat.ts'
import {
  bullOf,
  type EntryData,
  type EntryMark,
  type Held,
  type Order,
  toEntry,
  toHeld,
  toLeft,
} from './queue-entry.ts'
import { type FetchedEntry, loadTurnsScript, type QueueScripts } from './queue-scripts.ts'

/** Every lane has one queue of this name. The prefix of its keys has the lane's hash tag. */
export const QUEUE_NAME = 'calls'

/**
 * Longest time for which a pause of a lane delays an entry at once, ms. An operator who ends a pause makes the delayed
 * entries due at once (`Queues.promote`). This bound is for entries that missed that.
 */
export const LONGEST_PAUSE_DELAY_MS = 30 * 60_000

/** A tier of service that is shut, for one tenant or, with null, for all. */
export type ShutTier = [tier: string, tenant: string | null]

/** A worker's side of one lane's queue. Methods throw if Redis is unavailable. A lost lock is not an error. */
export type LaneQueue = {
  /** Up to `count` due entries; fewer if there are no more. */
  fetch(count: number): Promise<Held[]>
  /** Whether no entry waits, due or not. Entries that workers hold do not count. */
  isEmpty(): Promise<boolean>
  /** When the next delayed entry is due, Unix ms; null: none is delayed. */
  nextDue(): Promise<number | null>
  /** The job has ended, or no longer needs this entry. */
  acknowledge(held: Held): Promise<void>
  /**
   * The job was claimed: from now on its place in the outbox holds it for this worker, as the result says. Its entry
   * leaves the queue in the background. If Redis fails and the entry stays, the next worker finds that it is stale.
   */
  claimed(held: Held): Held
  /** Delays the entry until the given time (Unix ms). */
  delay(held: Held, at: number, mark?: EntryMark): Promise<void>
  /** The worker serves these entries now. `isResumed`: the lane was paused before. */
  served(held: readonly Held[], isResumed: boolean): void
  /** These acknowledged entries were not served. */
  left(held: readonly Held[]): void
  /**
   * Moves an entry to the front whose call may show whether the provider works. It is an entry of another tenant than
   * these, or else one whose call has not failed yet, and its tier is not shut. True: it belongs to another tenant, or
   * asks for another tier.
   */
  bringForward(tenants: string[], shut: readonly ShutTier[]): Promise<boolean>
  /**
   * Moves up to `count` entries to the front that ask for another tier than standard, except those whose tier is shut.
   * `seen`: how many entries it looked at.
   */
  bringOtherTiers(count: number, shut: readonly ShutTier[]): Promise<{ moved: number; seen: number }>
  /** Returns the entry to the front of its priority. */
  giveBack(held: Held): Promise<void>
  close(): Promise<void>
}

const bringForwardScript = loadTurnsScript(new URL('./lua/bring-forward.lua', import.meta.url))

/**
 * BullMQ's Worker without its second, blocking connection. Pub/sub wakes the lanes, and they fetch entries themselves.
 */
class FetchingWorker extends Worker {
  protected override createBackend(): void {
    this.backend = this.backendFactory(this.name, this.opts, {})
  }

  /** Requeues active entries that have no lock, and returns them. */
  recoverStalled(): Promise<string[]> {
    return this.backend.moveStalledJobsToWait()
  }

  /** Delays an entry until a Unix time in ms. BullMQ's own method would use this process' clock. */
  async putOff({ id, token }: Locked, at: number): Promise<void> {
    // BullMQ takes a time and a delay, and stores their sum. A time in the past is due at the next fetch.
    await this.backend.moveToDelayed(id, Math.max(1, Math.round(at) - 1), 1, token, { skipAttempt: true })
  }

  /** Moves an entry to the front of the entries of its priority. */
  async giveBack({ id, token }: Locked): Promise<void> {
    await this.backend.moveJobFromActiveToWait(id, token)
  }

  async setData({ id }: Locked, data: EntryData): Promise<void> {
    await this.backend.updateData({ id } as Job, data)
  }
}

type Locked = Pick<FetchedEntry<EntryData>, 'id' | 'token'>

export function createLaneQueue(deps: {
  connection: RedisClient
  scripts: QueueScripts
  lane: string
  prefix: string
  lockDuration: number
  stalledInterval: number
  leaseMs: number
  order: Order
  onStalled(): void
  onError(error: Error): void
}): LaneQueue {
  const { connection, scripts, prefix, lockDuration } = deps
  const worker = new FetchingWorker(QUEUE_NAME, null, {
    connection,
    prefix,
    autorun: false,
    lockDuration,
    stalledInterval: deps.stalledInterval,
    // The record counts lost workers, and quarantines the job (jobs/lua/start.lua). The queue requeues it every time.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    removeOnComplete: { count: 0 },
    skipVersionCheck: true,
  })
  worker.on('error', deps.onError)
  let fetches = 0
  let isClosed = false

  const queue = `${prefix}:${QUEUE_NAME}`
  // BullMQ's own timer would run its script even if no entry is active.
  const stalledChecks = repeat(
    deps.stalledInterval,
    async () => {
      if ((await connection.exists(`${queue}:active`)) === 0) return
      if ((await worker.recoverStalled()).length > 0) deps.onStalled()
    },
    (error) => {
      if (!isClosed) deps.onError(error instanceof Error ? error : new Error(String(error)))
    },
  )
  const bringForward = (count: number, isByTier: boolean, shut: readonly ShutTier[], tenants: string[]) =>
    runScript(connection, bringForwardScript, queue, [
      ...[count, isByTier ? '1' : '', shut.length],
      ...shut.map(([tier, tenant]) => `${tier}:${tenant ?? ''}`),
      ...tenants,
    ]) as Promise<[moved: number, isOther: number, seen: number]>
  let released: Locked[] = []
  let releasing: Promise<void> | null = null

  /** One script releases the entries that are acknowledged in one turn of the event loop. */
  function acknowledge(held: Held): Promise<void> {
    released.push(bullOf(held))
    releasing ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      const locks = released
      released = []
      releasing = null
      return scripts.release(queue, locks)
    })
    return releasing
  }

  return {
    async fetch(count) {
      const token = `${worker.id}:${fetches++}`
      const fetched = await scripts.fetch<EntryData>(queue, { count, token, lockMs: lockDuration })
      return fetched.map((entry) => toHeld(entry, deps.leaseMs))
    },
    // Only entries that get a call count. Fetched ones may still be rerouted or delayed, and that must not move others'
    // turns. A delayed entry keeps its first tag, so that a retry does not lose its turn.
    served(held, isResumed) {
      const data = held.flatMap((one) => (one.bull ? [one.bull.data] : []))
      if (data.length === 0) return
      deps.order.served(deps.lane, {
        start: Math.max(...data.map((one) => one.start)),
        seconds: data.reduce((sum, one) => sum + one.seconds, 0),
        waiting: `${prefix}:${QUEUE_NAME}:prioritized`,
        isResumed,
      })
    },
    left(held) {
      const entries = held.flatMap((one) => (one.bull ? toLeft(one.tenant, one.bull.data) : []))
      if (entries.length > 0) deps.order.left?.(deps.lane, entries)
    },
    async bringForward(tenants, shut) {
      const [, isOther] = await bringForward(1, false, shut, tenants)
      return isOther === 1
    },
    async bringOtherTiers(count, shut) {
      const [moved, , seen] = await bringForward(count, true, shut, [])
      return { moved, seen }
    },
    async isEmpty() {
      return (await connection.exists(`${queue}:wait`, `${queue}:prioritized`, `${queue}:delayed`)) === 0
    },
    async nextDue() {
      const [, score] = await connection.zrange(`${prefix}:${QUEUE_NAME}:delayed`, '0', '0', 'WITHSCORES')
      // BullMQ orders entries of the same time by twelve bits below the time.
      return score === undefined ? null : Math.floor(Number(score) / 0x1000)
    },
    acknowledge,
    claimed(held) {
      const bull = bullOf(held)
      const earlier = releasing
      const releasingThis = acknowledge(held)
      // Reports an error once, even if several entries leave together.
      releasingThis.catch(releasingThis === earlier ? () => {} : deps.onError)
      return { ...held, bull: null, placed: toEntry(held, bull, deps.lane) }
    },
    async delay(held, at, mark) {
      const bull = bullOf(held)
      if (mark) await unlessLost(worker.setData(bull, { ...bull.data, ...mark }))
      await unlessLost(worker.putOff(bull, at))
    },
    async giveBack(held) {
      await unlessLost(worker.giveBack(bullOf(held)))
    },
    async close() {
      isClosed = true
      void stalledChecks.stop()
      await releasing?.catch(() => {})
      await worker.close(true)
    },
  }
}

/**
 * BullMQ's codes for: no such entry, no lock, not active, locked by another worker. Either another worker has the
 * entry, or the entry is done.
 */
const LOST = new Set([-1, -2, -3, -6])

async function unlessLost(operation: Promise<unknown>): Promise<void> {
  try {
    await operation
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && LOST.has(error.code as number))) throw error
  }
}
