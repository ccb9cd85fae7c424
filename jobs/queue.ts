// This file and queue-scripts.ts alone know BullMQ. A queue entry carries the tenant (as its name), the job's id with the number of
// the entry, and what a lane must know before it starts the job: its cost. Everything else is in the record.
import { type Job, Worker } from 'bullmq'
import { loadScript, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'
import { repeat } from '../lib/repeat.ts'
import type { Priority } from './job.ts'
import type { JobCost } from './jobs.ts'
import { lanesKey, wakeChannel } from './keys.ts'
import { createLeases, type Leases, OUTBOX_GRACE_MS } from './leases.ts'
import { createQueueScripts, type FetchedEntry, type QueueScripts } from './queue-scripts.ts'

/** One queue a lane; its prefix carries the lane's hash tag. */
const QUEUE_NAME = 'calls'

/** Entries of BullMQ's own event stream; nothing reads it, and it would keep what is long gone. */
const EVENTS_KEPT = 1

export type QueueEntry = {
  tenant: string
  id: string
  /** Number of the entry within its job; a job that is queued again gets the next one. */
  entry: number
  lane: string
  priority: Priority
  /** Not before this Unix time in ms; null: at once. */
  notBefore: number | null
  cost: JobCost
  /** What is known of it from a call that was made before it was queued. */
  mark?: EntryMark
  /** The turn that it had before, and keeps; without it the lane's order decides. */
  turn?: Turn
}

/**
 * An entry that this worker holds: from its fetch to the claim by the queue's lock, from the claim on by the job's place in
 * its tenant's outbox. One that came straight from the API (direct-dispatch.ts) is held by its place from the beginning.
 */
export type Held = {
  tenant: string
  id: string
  entry: number
  cost: JobCost
  token: string
  /** Most jobs that it may share a request with, itself included, for one that it shared broke; null: no matter. */
  apart: number | null
  /** How often its lane answered its calls 429, and since when (Unix ms); null: it did not. */
  throttles: Throttles | null
  /** How long a claim holds it by its place, ms. */
  leaseMs: number
  /** The entry of the queue; null for one that is held by its place. */
  bull: FetchedEntry<EntryData> | null
  /** What is to be queued should it have to wait; null for one that is held by the queue's lock. */
  placed: QueueEntry | null
  /** True: it came straight from the API and was not claimed yet. */
  isDirect: boolean
}

/** Decides the order in which a lane's entries are served; see ratelimit/fairness.ts. */
export type Order = {
  /** Priority (1 first) and start tag for each entry. `held`: keys that are all empty when the lane has drained. */
  place(lane: string, entries: QueueEntry[], held: { sets: string[]; lists: string[] }): Promise<QueuePlace[]>
  /**
   * Entries up to this start tag, of so many seconds in all, are being served. `waiting`: the key of the others.
   * `anew`: nothing could be served for a while, so what was measured before says nothing of the time since.
   */
  served(lane: string, start: number, seconds: number, waiting: string, anew: boolean): void
  /** Whether entries with these start tags have their place still; without it all have. */
  holds?(lane: string, starts: number[]): Promise<boolean[]>
  /** These entries leave the lane unserved. */
  left?(lane: string, entries: { tenant: string; flow: string; share: number }[]): void
}

/** An entry's place in the order. `flow` and `share` (s) say what of the tenant's turns it takes, for `Order.left`. */
type QueuePlace = { priority: number; start: number; seconds: number; flow?: string; share?: number }

/** 429s that an entry met on its lane. */
export type Throttles = { count: number; since: number }

/** What is known of an entry whose call broke, or met a 429. */
export type EntryMark = { broken: true; apart: number } | { throttles: Throttles }

/** The turn of an entry, and what its calls told of it. */
export type Turn = QueuePlace & { broken?: true; apart?: number; throttles?: Throttles }

/** What BullMQ stores with an entry. */
type EntryData = JobCost & Omit<Turn, 'priority'>

export type Queues = {
  /** Puts entries into their lanes' queues and wakes the lanes. Adding an entry twice is the same as once. */
  add(entries: QueueEntry[]): Promise<void>
  /** Takes an entry out if it still waits; one that is held stays. */
  remove(lane: string, id: string, entry: number): Promise<void>
  /** Start tags of waiting entries; null for one that is not there. */
  starts(lane: string, entries: { id: string; entry: number }[]): Promise<(number | null)[]>
  /** How many entries of a lane wait, due and for later. */
  backlog(lane: string): Promise<{ waiting: number; delayed: number; active: number }>
  /** Lets entries come at once that are delayed until `dueBy` (Unix ms) at the latest. Those that are too early are put off again. */
  promote(lane: string, dueBy: number): Promise<void>
  /** Every lane that had an entry and was not retired since. */
  lanes(): Promise<string[]>
  /** Forgets a lane without entries. False: there are some, and it stays. */
  retire(lane: string): Promise<boolean>
  consume(lane: string, options: { onStalled(): void; onError(error: Error): void }): LaneQueue
}

/**
 * Longest that a lane's pause puts an entry off in one go, ms: a pause that is ended by hand lets what it put off come at once
 * (`Queues.promote`), and this is for where that is missed.
 */
export const LONGEST_PAUSE_DELAY_MS = 30 * 60_000

/** A worker's side of one lane's queue. Methods throw when Redis is away; a lost lock is not an error. */
export type LaneQueue = {
  /** Up to `count` entries that are due; fewer when there are no more. */
  fetch(count: number): Promise<Held[]>
  /** Whether nothing waits in it, due or not; what workers hold does not count. */
  isEmpty(): Promise<boolean>
  /** When the next delayed entry is due, Unix ms; null when none is delayed. */
  nextDue(): Promise<number | null>
  /** The job ended or needs no entry any more. */
  acknowledge(held: Held): Promise<void>
  /**
   * The job was claimed: from now on this worker holds it by its place, as answered. Its entry leaves the queue beside that;
   * one that stays, because Redis went away, is found stale.
   */
  claimed(held: Held): Held
  /** Comes again at the given time (Unix ms). */
  delay(held: Held, at: number, mark?: EntryMark): Promise<void>
  /** These entries are being served. `anew`: the lane was paused before. */
  served(held: readonly Held[], anew: boolean): void
  /** These entries, which are acknowledged, were not served. */
  left(held: readonly Held[]): void
  /**
   * Puts an entry in front that may tell how the provider is: of a tenant that is not among these, else one that has not
   * broken yet. True: it is of another tenant.
   */
  bringForward(tenants: string[]): Promise<boolean>
  /** Goes back to its place in front. */
  giveBack(held: Held): Promise<void>
  /** Extends the locks and answers the entries whose locks are lost. */
  renew(held: Held[]): Promise<Held[]>
  close(): Promise<void>
}

/**
 * How long the lock of an entry lasts, ms: two thirds of the time until it is to be handed out again. A check runs every
 * third, so that it is found at the latest when both are over.
 */
export function lockLease(stalledAfterMs: number): number {
  return Math.max(300, Math.round((stalledAfterMs * 2) / 3))
}

/**
 * How far ahead a claim sets the time of a job's place in the outbox: with the sweeper's grace, as long as an entry of the
 * queue is held without a sign of life.
 */
export function placeLease(stalledAfterMs: number): number {
  const lockMs = lockLease(stalledAfterMs)
  // Half a lock at the least: renewals come every third of one.
  return Math.max(Math.round(lockMs / 2), lockMs - OUTBOX_GRACE_MS)
}

const retireScript = loadScript(new URL('./lua/retire-lane.lua', import.meta.url))
const bringForwardScript = loadScript(new URL('./lua/bring-forward.lua', import.meta.url))
const promoteScript = loadScript(new URL('./lua/promote.lua', import.meta.url))

/** BullMQ's Worker without its second, blocking connection: lanes are woken by pub/sub and fetch by hand. */
class FetchingWorker extends Worker {
  protected override createBackend(): void {
    this.backend = this.backendFactory(this.name, this.opts, {})
  }

  /** Hands out again what is held without a lock; answers which entries that were. */
  recoverStalled(): Promise<string[]> {
    return this.backend.moveStalledJobsToWait()
  }

  /** Puts an entry off until a Unix time in ms, as BullMQ's own method does but for any look at this process' clock. */
  async putOff({ id, token }: Locked, at: number): Promise<void> {
    // BullMQ takes a time and a delay from it, and keeps their sum. What has passed is due at the next fetch.
    await this.backend.moveToDelayed(id, Math.max(1, Math.round(at) - 1), 1, token, { skipAttempt: true })
  }

  /** To the front of the entries of its priority. */
  async giveBack({ id, token }: Locked): Promise<void> {
    await this.backend.moveJobFromActiveToWait(id, token)
  }

  async setData({ id }: Locked, data: EntryData): Promise<void> {
    await this.backend.updateData({ id } as Job, data)
  }
}

type Locked = Pick<FetchedEntry<EntryData>, 'id' | 'token'>

export function createQueues(deps: {
  connection: RedisClient
  prefix: string
  /** From the death of a worker to the moment its jobs are fetched again, at the most. */
  stalledAfterMs: number
  order: Order
  /** Whether the configuration names the lane, so that workers know of it by themselves. Without it none is. */
  isNamed?: (lane: string) => boolean
}): Queues {
  const { connection, prefix, order } = deps
  const announced = new Set<string>()
  const lockDuration = lockLease(deps.stalledAfterMs)
  const leases = createLeases({ redis: connection, prefix, lockMs: lockDuration, placeMs: 0 })
  const stalledInterval = Math.max(150, Math.round(deps.stalledAfterMs / 3))
  const lanePrefix = (lane: string) => `${prefix}:{l:${lane}}`
  const queueRoot = (lane: string) => `${lanePrefix(lane)}:${QUEUE_NAME}`
  const queueScripts = createQueueScripts(connection)

  /** Makes a lane known to the workers; where the configuration does not name it each time, for it may have been retired. */
  async function announce(lane: string): Promise<void> {
    if (deps.isNamed?.(lane)) {
      if (!announced.has(lane)) await connection.sadd(lanesKey(prefix), lane)
      announced.add(lane)
    } else await connection.sadd(lanesKey(prefix), lane)
  }

  return {
    async add(entries) {
      const byLane = Map.groupBy(entries, (entry) => entry.lane)
      await Promise.all(
        [...byLane].map(async ([lane, group]) => {
          const key = (name: string) => `${lanePrefix(lane)}:${QUEUE_NAME}:${name}`
          const kept = group.flatMap((entry) =>
            entry.turn && !hadItsTurn(entry) ? [{ entry, turn: entry.turn }] : [],
          )
          const holds =
            kept.length === 0
              ? []
              : await order.holds?.(
                  lane,
                  kept.map(({ turn }) => turn.start),
                )
          const turns = new Map<QueueEntry, Turn>()
          for (const [index, { entry, turn }] of kept.entries()) {
            if (holds?.[index] !== false) turns.set(entry, turn)
          }
          const others = group.filter((entry) => !turns.has(entry))
          const drained = {
            // Calls under way are the lane's as well, for a claimed entry leaves the queue.
            sets: [key('prioritized'), key('delayed'), `${lanePrefix(lane)}:permits`],
            lists: [key('wait'), key('active')],
          }
          const places = others.length > 0 ? await order.place(lane, others, drained) : []
          for (const [index, entry] of others.entries()) {
            turns.set(entry, { ...entry.turn, ...places[index]! })
          }
          const turnOf = (entry: QueueEntry) => turns.get(entry)!
          await queueScripts.add(
            queueRoot(lane),
            group.map((entry) => ({
              id: `${entry.id}-${entry.entry}`,
              tenant: entry.tenant,
              data: toData(entry, turnOf(entry)),
              priority: turnOf(entry).priority,
              notBefore: entry.notBefore,
            })),
            EVENTS_KEPT,
          )
          await announce(lane)
          connection.publish(wakeChannel(prefix), lane).catch(() => {})
        }),
      )
    },
    async remove(lane, id, entry) {
      const removed = await queueScripts.remove<EntryData>(queueRoot(lane), `${id}-${entry}`)
      if (removed !== null) order.left?.(lane, toLeft(removed.tenant, removed.data))
    },
    async starts(lane, entries) {
      const key = (id: string) => `${lanePrefix(lane)}:${QUEUE_NAME}:${id}`
      const found = await Promise.all(
        entries.map(({ id, entry }) => connection.hget(key(`${id}-${entry}`), 'data')),
      )
      return found.map((data) => (data === null ? null : (JSON.parse(data) as EntryData).start))
    },
    async backlog(lane) {
      // Not by the queue, which would write about itself.
      const key = (name: string) => `${lanePrefix(lane)}:${QUEUE_NAME}:${name}`
      const [wait, prioritized, delayed, active] = await Promise.all([
        connection.llen(key('wait')),
        connection.zcard(key('prioritized')),
        connection.zcard(key('delayed')),
        connection.llen(key('active')),
      ])
      return { waiting: wait + prioritized, delayed, active }
    },
    async promote(lane, dueBy) {
      const root = `${lanePrefix(lane)}:${QUEUE_NAME}`
      let count: unknown
      do count = await runScript(connection, promoteScript, root, [dueBy])
      while (count === 1000)
    },
    lanes: () => connection.smembers(lanesKey(prefix)),
    async retire(lane) {
      const root = `${lanePrefix(lane)}:${QUEUE_NAME}`
      const retire = async () => (await runScript(connection, retireScript, root, [])) === 1
      if (!(await retire())) return false
      await connection.srem(lanesKey(prefix), lane)
      // An entry that came in between, and was announced before the lane was struck off.
      if (await retire()) return true
      await connection.sadd(lanesKey(prefix), lane)
      return false
    },
    consume: (lane, options) =>
      createLaneQueue({
        connection,
        scripts: queueScripts,
        lane,
        leases,
        prefix: lanePrefix(lane),
        lockDuration,
        stalledInterval,
        leaseMs: placeLease(deps.stalledAfterMs),
        order,
        ...options,
      }),
  }
}

function createLaneQueue(deps: {
  connection: RedisClient
  scripts: QueueScripts
  lane: string
  leases: Pick<Leases, 'renewLocks'>
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
    // The record counts lost workers and quarantines (jobs/lua/start.lua); the queue always hands out again.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    removeOnComplete: { count: 0 },
    skipVersionCheck: true,
  })
  worker.on('error', deps.onError)
  let fetches = 0
  let isClosed = false

  const queue = `${prefix}:${QUEUE_NAME}`
  // In place of BullMQ's own timer, which runs its script also where nothing is held.
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
  let released: Locked[] = []
  let releasing: Promise<void> | null = null

  /** Those of one turn of the event loop leave in one script. */
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
    // Not what is fetched: it may be handed over or put off, and the others' turns must not move on for that. Delayed
    // entries keep the tag of when they were queued, so that a retry does not lose its turn.
    served(held, anew) {
      const data = held.flatMap((one) => (one.bull ? [one.bull.data] : []))
      if (data.length === 0) return
      deps.order.served(
        deps.lane,
        Math.max(...data.map((one) => one.start)),
        data.reduce((sum, one) => sum + one.seconds, 0),
        `${prefix}:${QUEUE_NAME}:prioritized`,
        anew,
      )
    },
    left(held) {
      const entries = held.flatMap((one) => (one.bull ? toLeft(one.tenant, one.bull.data) : []))
      if (entries.length > 0) deps.order.left?.(deps.lane, entries)
    },
    async bringForward(tenants) {
      return (await runScript(connection, bringForwardScript, `${prefix}:${QUEUE_NAME}`, tenants)) === 2
    },
    async isEmpty() {
      return (await connection.exists(`${queue}:wait`, `${queue}:prioritized`, `${queue}:delayed`)) === 0
    },
    async nextDue() {
      const [, score] = await connection.zrange(`${prefix}:${QUEUE_NAME}:delayed`, '0', '0', 'WITHSCORES')
      // BullMQ keeps twelve bits below the time for the order of equal times.
      return score === undefined ? null : Math.floor(Number(score) / 0x1000)
    },
    acknowledge,
    claimed(held) {
      const bull = bullOf(held)
      const earlier = releasing
      const releasingThis = acknowledge(held)
      // An error is told once, however many leave together.
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
    async renew(held) {
      const locks = held.map((one) => ({ entry: bullOf(one).id, token: one.token }))
      const lost = new Set(await deps.leases.renewLocks(deps.lane, locks))
      return held.filter((one) => lost.has(bullOf(one).id))
    },
    async close() {
      isClosed = true
      void stalledChecks.stop()
      await releasing?.catch(() => {})
      await worker.close(true)
    },
  }
}

function toData({ cost, mark }: QueueEntry, { priority: _, ...turn }: Turn): EntryData {
  return { ...cost, ...turn, ...mark }
}

function toLeft(tenant: string, { flow, share }: EntryData) {
  return flow === undefined || share === undefined ? [] : [{ tenant, flow, share }]
}

/**
 * An entry whose call broke, and that goes again later, has had its turn. It gets another among its tenant's entries that go
 * again, from where the lane is now: with their old turns many of them would go before all that others wait for.
 */
export function hadItsTurn({ mark, notBefore }: Pick<QueueEntry, 'mark' | 'notBefore'>): boolean {
  return mark !== undefined && 'broken' in mark && notBefore !== null
}

/** What is to be queued of a claimed job that has to wait: in its turn, with what is known of it, as if it had never left. */
function toEntry({ tenant, id, entry }: Held, bull: FetchedEntry<EntryData>, lane: string): QueueEntry {
  const { data, priority } = bull
  return {
    tenant,
    id,
    entry,
    lane,
    priority: (data.flow?.replace(/^(later|again)-/, '') ?? 'normal') as Priority,
    notBefore: null,
    cost: data,
    turn: { ...data, priority },
  }
}

function toHeld(bull: FetchedEntry<EntryData>, leaseMs: number): Held {
  const dash = bull.id.lastIndexOf('-')
  return {
    tenant: bull.tenant,
    id: bull.id.slice(0, dash),
    entry: Number(bull.id.slice(dash + 1)),
    cost: bull.data,
    apart: bull.data.apart ?? null,
    throttles: bull.data.throttles ?? null,
    leaseMs,
    bull,
    placed: null,
    isDirect: false,
    token: bull.token,
  }
}

function bullOf(held: Held): FetchedEntry<EntryData> {
  if (held.bull === null) throw new Error(`${held.id} is not in the queue`)
  return held.bull
}

/** BullMQ's codes for: no such entry, no lock, not active, locked by another. Another worker has it now, or it is done. */
const LOST = new Set([-1, -2, -3, -6])

async function unlessLost(operation: Promise<unknown>): Promise<void> {
  try {
    await operation
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && LOST.has(error.code as number))) throw error
  }
}
