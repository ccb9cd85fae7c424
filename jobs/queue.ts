// Only this file and queue-scripts.ts know BullMQ. A queue entry carries the tenant (as its name), the job's id with the entry's
// number, and the job's cost, which a lane must know before it starts the job. The record holds everything else.
import { type Job, Worker } from 'bullmq'
import { loadScript, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'
import { repeat } from '../lib/repeat.ts'
import type { Priority } from './job.ts'
import type { GatherPlan, JobCost } from './jobs.ts'
import { lanesKey, wakeChannel } from './keys.ts'
import { createLeases, type Leases, OUTBOX_GRACE_MS } from './leases.ts'
import { createQueueScripts, type FetchedEntry, loadTurnsScript, type QueueScripts } from './queue-scripts.ts'

/** One queue a lane; its prefix carries the lane's hash tag. */
const QUEUE_NAME = 'calls'

/** Length of BullMQ's own event stream. Nothing reads it, and BullMQ would keep old events. */
const EVENTS_KEPT = 1

export type QueueEntry = {
  tenant: string
  id: string
  /** Number of the entry within its job. A requeued job gets the next number. */
  entry: number
  lane: string
  priority: Priority
  /** Not before this Unix time in ms; null: at once. */
  notBefore: number | null
  cost: JobCost
  /** How it is gathered for a provider batch, if it does not go into its lane's queue. */
  gather?: GatherPlan
  /** What an earlier call of the job told about it. */
  mark?: EntryMark
  /** The turn that the entry keeps from before. Without it the lane's order decides. */
  turn?: Turn
}

/**
 * An entry that this worker holds. Until the claim the queue's lock holds it, then the job's place in its tenant's
 * outbox does. A directly dispatched entry (direct-dispatch.ts) is held by its place from the beginning.
 */
export type Held = {
  tenant: string
  id: string
  entry: number
  cost: JobCost
  token: string
  /** Most jobs in its next request, itself included, because a shared request broke; null: no limit. */
  apart: number | null
  /** How many of its calls met a 429 on this lane, and since when (Unix ms); null: none. */
  throttles: Throttles | null
  /** How long its place holds it after a claim, ms. */
  leaseMs: number
  /** The queue's entry; null once its place holds it. */
  bull: FetchedEntry<EntryData> | null
  /** The entry to queue if the job has to wait; null while the queue's lock holds it. */
  placed: QueueEntry | null
  /** True: it was dispatched directly and is not claimed yet. */
  isDirect: boolean
}

/** Decides the order in which a lane's entries are served; see ratelimit/fairness.ts. */
export type Order = {
  /** Priority (1 first) and start tag of each entry. `held`: keys that are all empty once the lane is idle. */
  place(lane: string, entries: QueueEntry[], held: { sets: string[]; lists: string[] }): Promise<QueuePlace[]>
  /**
   * Entries up to this start tag, of so many seconds in all, are being served. `waiting`: the key of the others.
   * `anew`: the lane served nothing for a while, so earlier measurements do not count.
   */
  served(lane: string, start: number, seconds: number, waiting: string, anew: boolean): void
  /** Whether entries with these start tags still have their place. Without this method all do. */
  holds?(lane: string, starts: number[]): Promise<boolean[]>
  /** These entries leave the lane unserved. */
  left?(lane: string, entries: { tenant: string; flow: string; share: number }[]): void
}

/**
 * An entry's place in the order. `flow` and `share` (s): the part of the tenant's turns that it takes, for `Order.left`. `turn`: its
 * place among the tenant's entries, where the tenant's turns go round fair keys.
 */
type QueuePlace = {
  priority: number
  start: number
  seconds: number
  flow?: string
  share?: number
  turn?: number
}

/** 429s that an entry met on its lane. */
export type Throttles = { count: number; since: number }

/** What an entry keeps about a call that broke or met a 429. */
export type EntryMark = { broken: true; apart: number } | { throttles: Throttles }

/** The turn of an entry, and what its calls told about it. */
export type Turn = QueuePlace & { broken?: true; apart?: number; throttles?: Throttles }

/** What BullMQ stores with an entry. */
type EntryData = JobCost & Omit<Turn, 'priority'>

/** Where an entry stands: its start tag, or its place among its tenant's entries where these go round fair keys. */
export type Start = { start: number } | { tenant: string; ahead: number; of: number }

export type Queues = {
  /** Puts entries into their lanes' queues and wakes the lanes. Idempotent. */
  add(entries: QueueEntry[]): Promise<void>
  /** Removes an entry that still waits; a held entry stays. */
  remove(lane: string, id: string, entry: number): Promise<void>
  /** The same for many of one lane. Each costs Redis some microseconds. */
  removeMany(lane: string, entries: readonly { id: string; entry: number }[]): Promise<void>
  /** Start tags of waiting entries; null for one that is not there, or whose turn follows from its tenant's fair keys. */
  starts(lane: string, entries: { id: string; entry: number }[]): Promise<(Start | null)[]>
  /** How many entries of a lane wait, due and for later. */
  backlog(lane: string): Promise<{ waiting: number; delayed: number; active: number }>
  /** Makes entries due now that are delayed until `dueBy` (Unix ms) at the latest. Those that are too early are delayed again. */
  promote(lane: string, dueBy: number): Promise<void>
  /** Every lane that had an entry and has not been retired since. */
  lanes(): Promise<string[]>
  /** Forgets a lane without entries. False: it has some, and stays. */
  retire(lane: string): Promise<boolean>
  consume(lane: string, options: { onStalled(): void; onError(error: Error): void }): LaneQueue
}

/**
 * Longest delay that a lane's pause gives an entry at a time, ms. An operator who ends a pause makes the delayed entries due
 * at once (`Queues.promote`); this bound is for entries that missed it.
 */
export const LONGEST_PAUSE_DELAY_MS = 30 * 60_000

/** A worker's side of one lane's queue. Methods throw when Redis is unavailable; a lost lock is not an error. */
export type LaneQueue = {
  /** Up to `count` due entries; fewer when there are no more. */
  fetch(count: number): Promise<Held[]>
  /** Whether no entry waits, due or not. Entries that workers hold do not count. */
  isEmpty(): Promise<boolean>
  /** When the next delayed entry is due, Unix ms; null when none is delayed. */
  nextDue(): Promise<number | null>
  /** The job ended or no longer needs its entry. */
  acknowledge(held: Held): Promise<void>
  /**
   * The job was claimed: from now on its place holds it for this worker, as answered. Its entry leaves the queue in the
   * background. If Redis fails and the entry stays, the next worker finds it stale.
   */
  claimed(held: Held): Held
  /** Delays the entry until the given time (Unix ms). */
  delay(held: Held, at: number, mark?: EntryMark): Promise<void>
  /** The worker serves these entries now. `anew`: the lane was paused before. */
  served(held: readonly Held[], anew: boolean): void
  /** These acknowledged entries were not served. */
  left(held: readonly Held[]): void
  /**
   * Moves an entry to the front whose call may show whether the provider works: one of another tenant than these, else one
   * that has not broken yet. True: it belongs to another tenant.
   */
  bringForward(tenants: string[]): Promise<boolean>
  /** Returns the entry to its place at the front. */
  giveBack(held: Held): Promise<void>
  /** Extends the locks; returns the entries whose locks are lost. */
  renew(held: Held[]): Promise<Held[]>
  close(): Promise<void>
}

/**
 * How long the lock of an entry lasts, ms: two thirds of `stalledAfterMs`. A check runs every third of that time, so it
 * finds the entry before all of it is over.
 */
export function lockLease(stalledAfterMs: number): number {
  return Math.max(300, Math.round((stalledAfterMs * 2) / 3))
}

/**
 * How long a claim or a renewal keeps a job's place in the outbox, ms. With the sweeper's grace that is as long as a queue
 * entry stays locked without a renewal.
 */
export function placeLease(stalledAfterMs: number): number {
  const lockMs = lockLease(stalledAfterMs)
  // At least half a lock: renewals come every third of a lock.
  return Math.max(Math.round(lockMs / 2), lockMs - OUTBOX_GRACE_MS)
}

const retireScript = loadScript(new URL('./lua/retire-lane.lua', import.meta.url))
const bringForwardScript = loadTurnsScript(new URL('./lua/bring-forward.lua', import.meta.url))
const promoteScript = loadScript(new URL('./lua/promote.lua', import.meta.url))

/** BullMQ's Worker without its second, blocking connection: pub/sub wakes the lanes, and they fetch entries themselves. */
class FetchingWorker extends Worker {
  protected override createBackend(): void {
    this.backend = this.backendFactory(this.name, this.opts, {})
  }

  /** Requeues entries that are active without a lock; returns them. */
  recoverStalled(): Promise<string[]> {
    return this.backend.moveStalledJobsToWait()
  }

  /** Delays an entry until a Unix time in ms. BullMQ's own method would use this process' clock. */
  async putOff({ id, token }: Locked, at: number): Promise<void> {
    // BullMQ takes a time and a delay, and stores their sum. A time in the past is due at the next fetch.
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
  /** Longest time from a worker's death until its jobs are fetched again, ms. */
  stalledAfterMs: number
  order: Order
  /** Whether the configuration names the lane, so that workers know it anyway. Without this function it names none. */
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

  /** Announces a lane to the workers: each time if the configuration does not name it, because it may have been retired. */
  async function announce(lane: string): Promise<void> {
    if (deps.isNamed?.(lane)) {
      if (!announced.has(lane)) await connection.sadd(lanesKey(prefix), lane)
      announced.add(lane)
    } else await connection.sadd(lanesKey(prefix), lane)
  }

  const removeMany: Queues['removeMany'] = async (lane, entries) => {
    const ids = entries.map(({ id, entry }) => `${id}-${entry}`)
    const removed = await queueScripts.remove<EntryData>(queueRoot(lane), ids)
    if (removed.length > 0)
      order.left?.(
        lane,
        removed.flatMap(({ tenant, data }) => toLeft(tenant, data)),
      )
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
            // Permits count too: a claimed entry leaves the queue while its call is under way.
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
              turn: turnInside(entry, turnOf(entry)),
            })),
            EVENTS_KEPT,
          )
          await announce(lane)
          connection.publish(wakeChannel(prefix), lane).catch(() => {})
        }),
      )
    },
    remove: (lane, id, entry) => removeMany(lane, [{ id, entry }]),
    removeMany,
    async starts(lane, entries) {
      const root = queueRoot(lane)
      const found = await Promise.all(
        entries.map(({ id, entry }) => connection.hmget(`${root}:${id}-${entry}`, 'data', 'name', 'turn')),
      )
      return Promise.all(
        found.map(async ([data, tenant, turn], index) => {
          if (data == null) return null
          if (!turn || !tenant) return { start: (JSON.parse(data) as EntryData).start }
          const { id, entry } = entries[index]!
          // `<band>:<tag>`, as lua/turns.lua reads it.
          const turns = `${lanePrefix(lane)}:key-turns:${turn.slice(0, turn.indexOf(':'))}:${tenant}`
          const [ahead, of] = await Promise.all([
            connection.zrank(turns, `${id}-${entry}`),
            connection.zcard(turns),
          ])
          return ahead === null ? null : { tenant, ahead, of }
        }),
      )
    },
    async backlog(lane) {
      // Not through BullMQ's Queue, which would write keys of its own.
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
      // An entry may have come in between, and been announced before the lane was removed.
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
    // The record counts lost workers and quarantines the job (jobs/lua/start.lua); the queue always requeues.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    removeOnComplete: { count: 0 },
    skipVersionCheck: true,
  })
  worker.on('error', deps.onError)
  let fetches = 0
  let isClosed = false

  const queue = `${prefix}:${QUEUE_NAME}`
  // BullMQ's own timer would run its script even when no entry is active.
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

  /** One script releases the entries of one turn of the event loop. */
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
    // Fetched entries do not count: they may be rerouted or delayed, and that must not move the others' turns. Delayed
    // entries keep their first tag, so that a retry does not lose its turn.
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
      // BullMQ orders equal times by the twelve bits below the time.
      return score === undefined ? null : Math.floor(Number(score) / 0x1000)
    },
    acknowledge,
    claimed(held) {
      const bull = bullOf(held)
      const earlier = releasing
      const releasingThis = acknowledge(held)
      // Report an error once, however many entries leave together.
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

/** Where the entry stands among its tenant's of the same band, as the scripts of the queue read it; '' where fair keys have no part in it. */
function turnInside({ priority }: QueueEntry, { turn }: Turn): string {
  return turn === undefined ? '' : `${priority}:${turn}`
}

function toLeft(tenant: string, { flow, share }: EntryData) {
  return flow === undefined || share === undefined ? [] : [{ tenant, flow, share }]
}

/**
 * An entry whose call broke and that is retried later has had its turn. It gets a new one among its tenant's retries,
 * from where the lane is now: with their old turns, many retries would go before all entries of other tenants.
 */
export function hadItsTurn({ mark, notBefore }: Pick<QueueEntry, 'mark' | 'notBefore'>): boolean {
  return mark !== undefined && 'broken' in mark && notBefore !== null
}

/** The queue entry of a claimed job that has to wait: it keeps its turn and its marks, as if it had never left. */
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

/** BullMQ's codes for: no such entry, no lock, not active, locked by another. Another worker has the entry, or it is done. */
const LOST = new Set([-1, -2, -3, -6])

async function unlessLost(operation: Promise<unknown>): Promise<void> {
  try {
    await operation
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && LOST.has(error.code as number))) throw error
  }
}
