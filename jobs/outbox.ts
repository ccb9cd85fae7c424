import { paced } from '../lib/pace.ts'
import { isRedisUnavailable, type RedisClient } from '../lib/redis.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import { decodeGatherPlan } from './gather-plan.ts'
import type { Priority } from './job.ts'
import { tenantRoot } from './keys.ts'
import type { Queues } from './queue.ts'
import type { QueueEntry } from './queue-entry.ts'
import type { Scripts } from './scripts.ts'

/**
 * The step from a tenant's records to the queues of lanes, which are in other slots. The script that writes a record
 * also puts the job into the tenant's outbox. The job leaves the outbox only after the queue has it. Adding an entry
 * twice is harmless, so after a crash the rest is added again.
 */
export type Outbox = {
  /**
   * Queues entries whose content the caller has. Calls of the same moment share a script. Resolves when they are
   * queued.
   */
  dispatch(entries: QueueEntry[]): Promise<void>
  /** Queues the job that a script promoted; '' for none. */
  dispatchById(tenant: string, id: string): Promise<void>
  /** Queues what has been in the outbox for longer than `olderThanMs`, until the signal aborts. Returns how many. */
  sweep(tenant: string, olderThanMs: number, signal?: AbortSignal): Promise<number>
  /** Resolves when nothing is under way. */
  idle(): Promise<void>
}

/** Most entries that one script removes: Lua's `unpack` is limited. */
const MOST_TAKEN_OUT = 1000

/** Outbox entries that a sweep queues in one go. */
const SWEEP_BLOCK = 250

export function createOutbox(deps: {
  redis: RedisClient
  scripts: Scripts
  /** Takes the entries: into the queues of their lanes, or to be gathered for a provider batch. */
  queues: Pick<Queues, 'add'>
  prefix: string
  now: () => number
  /** Hears of each job and lane that a sweep could not queue. */
  onFailure?: OnUpkeepFailure
}): Outbox {
  const { redis, scripts, queues, prefix, now, onFailure = () => {} } = deps
  let gathered: QueueEntry[] = []
  let flush: Promise<void> | null = null
  const running = new Set<Promise<void>>()

  function dispatch(entries: QueueEntry[]): Promise<void> {
    gathered.push(...entries)
    flush ??= Promise.resolve().then(() => {
      const batch = gathered
      gathered = []
      flush = null
      const sending = send(batch).finally(() => running.delete(sending))
      running.add(sending)
      return sending
    })
    return flush
  }

  async function send(batch: QueueEntry[]): Promise<void> {
    await queues.add(batch)
    for (const [tenant, entries] of Map.groupBy(batch, (entry) => entry.tenant)) {
      const members = entries.map((one) => `${one.id}-${one.entry}`)
      // This is not awaited: if an entry stays here, a sweep adds it once more, which is harmless.
      takeOut(tenant, members).catch(() => {})
    }
  }

  /** Removes entries that are in their queues now. Entries that were claimed meanwhile stay. */
  async function takeOut(tenant: string, members: string[]): Promise<void> {
    for (let from = 0; from < members.length; from += MOST_TAKEN_OUT) {
      const some = members.slice(from, from + MOST_TAKEN_OUT)
      await scripts.run('queued', tenantRoot(prefix, tenant), some)
    }
  }

  /**
   * The queue entries of these jobs, null for a deleted job. Scheduled jobs that are due become `queued`.
   *
   * @param time Unix ms, by Redis' clock
   */
  async function load(tenant: string, ids: string[], time: number): Promise<(QueueEntry | null)[]> {
    const answer = (await scripts.run('due', tenantRoot(prefix, tenant), ids)) as Buffer[]
    return ids.map((id, index) => {
      const [lane, priority, cost, readyAt, entry, gather] = answer
        .slice(6 * index, 6 * index + 6)
        .map(String)
      if (!lane || !cost) return null
      const at = Number(readyAt)
      return {
        tenant,
        id,
        entry: Number(entry),
        lane,
        priority: priority as Priority,
        notBefore: at > time ? at : null,
        cost: JSON.parse(cost),
        ...(gather ? { gather: decodeGatherPlan(gather) } : {}),
      }
    })
  }

  /**
   * Queues the jobs of these members of the outbox, lane by lane, and removes the members. Members of a job or lane
   * that failed stay.
   */
  async function queueAgain(tenant: string, members: string[], time: number): Promise<number> {
    const toRemove: string[] = []
    const found: { member: string; entry: QueueEntry }[] = []
    const onJob = (error: unknown, id: string) => onFailure({ task: 'outbox', tenant, id, error })
    const find = async (some: string[]) => {
      const ids = some.map((member) => member.slice(0, member.lastIndexOf('-')))
      for (const [index, entry] of (await load(tenant, ids, time)).entries()) {
        if (entry === null) toRemove.push(some[index]!)
        else found.push({ member: some[index]!, entry })
      }
    }
    try {
      await find(members)
    } catch (error) {
      if (isRedisUnavailable(error)) throw error
      // A record among them cannot be read, so each job is read alone to find the others.
      await visitAll(members, (member) => find([member]), onJob, { atOnce: members.length })
    }
    const lanes = [...Map.groupBy(found, ({ entry }) => entry.lane)]
    const queue = async ([, group]: (typeof lanes)[number]) => {
      await queues.add(group.map(({ entry }) => entry))
      toRemove.push(...group.map(({ member }) => member))
    }
    await visitAll(lanes, queue, (error, [lane]) => onJob(error, lane), { atOnce: lanes.length })
    await takeOut(tenant, toRemove)
    return toRemove.length
  }

  return {
    dispatch,
    async dispatchById(tenant, id) {
      const [entry] = id === '' ? [] : await load(tenant, [id], now())
      if (entry) await dispatch([entry])
    },
    async sweep(tenant, olderThanMs, signal) {
      const key = `${tenantRoot(prefix, tenant)}:outbox`
      // By the clock of the scripts, because a sweep must not mistake a direct dispatch for a job that a crash left.
      const [seconds, micros] = await redis.time()
      const time = Math.floor(Number(seconds) * 1000 + Number(micros) / 1000)
      let queued = 0
      // Jobs that could not be queued are still in the outbox, and are skipped.
      for (let skipped = 0; !signal?.aborted; ) {
        const block = ['LIMIT', skipped, SWEEP_BLOCK] as const
        const members = await redis.zrangebyscore(key, '-inf', time - olderThanMs, ...block)
        if (members.length === 0) break
        const count = await paced(() => queueAgain(tenant, members, time), { isAwaited: true })
        queued += count
        skipped += members.length - count
        if (members.length < SWEEP_BLOCK) break
      }
      return queued
    },
    async idle() {
      await Promise.allSettled([...(flush ? [flush] : []), ...running])
    },
  }
}
