// Only this file, lane-queue.ts and queue-scripts.ts know BullMQ. A queue entry contains the tenant (as its name), the
// job's id with the number of the entry, and the job's cost, which a lane must know before it starts the job. The
// record has everything else.
import { loadScript, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'
import { lanesKey, wakeChannel } from './keys.ts'
import { createLaneQueue, type LaneQueue, QUEUE_NAME } from './lane-queue.ts'
import { lockLease, placeLease } from './leases.ts'
import {
  type EntryData,
  hadItsTurn,
  type Order,
  type QueueEntry,
  type Start,
  type Turn,
  toData,
  toLeft,
  turnInside,
} from './queue-entry.ts'
import { createQueueScripts } from './queue-scripts.ts'

/** Length of BullMQ's own event stream. Nothing reads it, and without a bound BullMQ would keep old events. */
const EVENTS_KEPT = 1

/** The queues of all lanes. */
export type Queues = {
  /** Puts entries into their lanes' queues and wakes the lanes. Idempotent. */
  add(entries: QueueEntry[]): Promise<void>
  /** Removes an entry that still waits. An entry that a worker holds stays. */
  remove(lane: string, id: string, entry: number): Promise<void>
  /** The same for many entries of one lane. Each costs Redis some microseconds. */
  removeMany(lane: string, entries: readonly { id: string; entry: number }[]): Promise<void>
  /**
   * Start tags of waiting entries; null for an entry that is not there. If turns rotate among fair keys, it gives the
   * place among the tenant's entries.
   */
  starts(lane: string, entries: { id: string; entry: number }[]): Promise<(Start | null)[]>
  /** How many entries of a lane are due, are delayed, and are held by workers. */
  backlog(lane: string): Promise<{ waiting: number; delayed: number; active: number }>
  /**
   * Makes entries due now that are delayed until `dueBy` (Unix ms) at the latest. Those that come too early are delayed
   * again.
   */
  promote(lane: string, dueBy: number): Promise<void>
  /**
   * Keys of which all but the last exist only while due entries of the lane wait in its queue. The last exists while
   * workers have some: entries that wait in their hands, or that are claimed and not removed yet.
   */
  waitingKeys(lane: string): string[]
  /** Every lane that had an entry and has not been retired since. */
  lanes(): Promise<string[]>
  /** Forgets a lane that has no entries. False: it has some, and stays. */
  retire(lane: string): Promise<boolean>
  consume(lane: string, options: { onStalled(): void; onError(error: Error): void }): LaneQueue
}

const retireScript = loadScript(new URL('./lua/retire-lane.lua', import.meta.url))
const promoteScript = loadScript(new URL('./lua/promote.lua', import.meta.url))

export function createQueues(deps: {
  connection: RedisClient
  prefix: string
  /** Longest time from the death of a worker until its jobs are fetched again, ms. */
  stalledAfterMs: number
  order: Order
  /** Whether the configuration names the lane, so that workers know it anyway. Without this function it names none. */
  isNamed?: (lane: string) => boolean
}): Queues {
  const { connection, prefix, order } = deps
  const announced = new Set<string>()
  const lockDuration = lockLease(deps.stalledAfterMs)
  const stalledInterval = Math.max(150, Math.round(deps.stalledAfterMs / 3))
  const lanePrefix = (lane: string) => `${prefix}:{l:${lane}}`
  const queueRoot = (lane: string) => `${lanePrefix(lane)}:${QUEUE_NAME}`
  const queueScripts = createQueueScripts(connection)

  /**
   * Announces a lane to the workers. If the configuration does not name it, each entry announces it again, because it
   * may have been retired.
   */
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
            sets: [key('prioritized'), key('delayed')],
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
      // This does not use BullMQ's Queue, which would write keys of its own.
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
    waitingKeys: (lane) => ['wait', 'prioritized', 'active'].map((name) => `${queueRoot(lane)}:${name}`),
    lanes: () => connection.smembers(lanesKey(prefix)),
    async retire(lane) {
      const root = `${lanePrefix(lane)}:${QUEUE_NAME}`
      const retire = async () => (await runScript(connection, retireScript, root, [])) === 1
      if (!(await retire())) return false
      await connection.srem(lanesKey(prefix), lane)
      // An entry may have come meanwhile, and may have been announced before the lane was removed.
      if (await retire()) return true
      await connection.sadd(lanesKey(prefix), lane)
      return false
    },
    consume: (lane, options) =>
      createLaneQueue({
        connection,
        scripts: queueScripts,
        lane,
        prefix: lanePrefix(lane),
        lockDuration,
        stalledInterval,
        leaseMs: placeLease(deps.stalledAfterMs),
        order,
        ...options,
      }),
  }
}
