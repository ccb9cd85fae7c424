import type { RedisClient } from '../lib/redis.ts'
import type { Priority } from './job.ts'
import { tenantRoot } from './keys.ts'
import type { QueueEntry, Queues } from './queue.ts'

/**
 * The step from a tenant's records to the lanes' queues, which live in other slots. What is to be queued stands in
 * the tenant's outbox from the moment its record says so; it leaves the outbox only after the queue has it. Adding
 * twice is harmless, so whatever a crash leaves here is simply added again.
 */
export type Outbox = {
  /** Queues entries whose content is at hand; calls of one moment travel together. Resolves when they are queued. */
  dispatch(entries: QueueEntry[]): Promise<void>
  /** Queues the job that a script promoted; '' is none. */
  dispatchById(tenant: string, id: string): Promise<void>
  /** Queues what has stood in the outbox for longer than `olderThanMs`; answers how many. */
  sweep(tenant: string, olderThanMs: number): Promise<number>
  /** Resolves when nothing is under way. */
  idle(): Promise<void>
}

/** An outbox entry this old was left by a crash or an outage: whoever wrote it had its chance. */
export const OUTBOX_GRACE_MS = 2000

/** Most outbox entries read in one sweep of a tenant. */
const SWEEP_LIMIT = 1000

export function createOutbox(deps: {
  redis: RedisClient
  queues: Queues
  prefix: string
  now: () => number
}): Outbox {
  const { redis, queues, prefix, now } = deps
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
      // Not awaited: an entry left behind is added once more by the sweeper, which changes nothing.
      redis.zrem(`${tenantRoot(prefix, tenant)}:outbox`, ...members).catch(() => {})
    }
  }

  async function load(tenant: string, ids: string[]): Promise<QueueEntry[]> {
    const root = tenantRoot(prefix, tenant)
    const fields = ['lane', 'priority', 'cost', 'ready_at', 'entries']
    const answers = await Promise.all(ids.map((id) => redis.hmget(`${root}:job:${id}`, ...fields)))
    const entries: QueueEntry[] = []
    answers.forEach(([lane, priority, cost, readyAt, entry], index) => {
      if (!lane || !cost) return
      const at = Number(readyAt)
      entries.push({
        tenant,
        id: ids[index]!,
        entry: Number(entry),
        lane,
        priority: priority as Priority,
        notBefore: at > now() ? at : null,
        cost: JSON.parse(cost),
      })
    })
    return entries
  }

  return {
    dispatch,
    async dispatchById(tenant, id) {
      if (id !== '') await dispatch(await load(tenant, [id]))
    },
    async sweep(tenant, olderThanMs) {
      const key = `${tenantRoot(prefix, tenant)}:outbox`
      // By the clock that the scripts go by: what a worker claims straight from here, no sweeper may take for left behind.
      const [seconds, micros] = await redis.time()
      const before = Math.floor(Number(seconds) * 1000 + Number(micros) / 1000) - olderThanMs
      const members = await redis.zrangebyscore(key, '-inf', before, 'LIMIT', 0, SWEEP_LIMIT)
      if (members.length === 0) return 0
      const entries = await load(
        tenant,
        members.map((member) => member.slice(0, member.lastIndexOf('-'))),
      )
      await dispatch(entries)
      await redis.zrem(key, ...members)
      return members.length
    },
    async idle() {
      await Promise.allSettled([...(flush ? [flush] : []), ...running])
    },
  }
}
