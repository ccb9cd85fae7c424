import type { Emit } from '../lib/emitter.ts'
import { paced } from '../lib/pace.ts'
import { isRedisUnavailable, type RedisClient } from '../lib/redis.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import type { Incident } from './incidents.ts'
import { tenantRoot } from './keys.ts'
import type { Outbox } from './outbox.ts'
import type { Scripts } from './scripts.ts'

/** Jobs read at once, jobs failed in one script, which holds Redis for some milliseconds then, and scripts under way at the same time. */
const READ = 1000
const BLOCK = 50
const BLOCKS_AT_ONCE = 4

/** Fails waiting jobs whose deadline passed. Any number of processes may do so at once. */
export type Deadlines = {
  /** Goes on until no job of the tenant is over its deadline, or the signal aborts. Throws when Redis is away. */
  expire(tenant: string, signal?: AbortSignal): Promise<void>
}

/** @param deps.now Unix ms, by Redis' clock: what to look at. The script decides by that clock itself. */
export function createDeadlines(deps: {
  redis: RedisClient
  scripts: Scripts
  outbox: Outbox
  prefix: string
  retainMs: () => number
  now: () => number
  events?: Emit<{ 'job.incident': Incident }>
  /** Told of each job that could not be failed. */
  onFailure?: OnUpkeepFailure
}): Deadlines {
  const { redis, scripts, outbox, prefix } = deps

  async function expireSome(tenant: string, ids: string[]): Promise<void> {
    const args = [deps.retainMs(), ...ids]
    const answer = (await scripts.run('expire', tenantRoot(prefix, tenant), args)) as Buffer[]
    for (let at = 0; at < answer.length; at += 4) {
      const [job = '', promoted = '', lane = '', requestId = ''] = answer.slice(at, at + 4).map(String)
      const detail = { code: 'deadline_exceeded' }
      deps.events?.emit('job.incident', {
        kind: 'failed',
        tenant,
        job,
        lane,
        requestId: requestId || null,
        detail,
      })
      await outbox.dispatchById(tenant, promoted)
    }
  }

  /** What one job of a block cannot do costs that job alone. */
  async function expireBlock(tenant: string, ids: string[]): Promise<void> {
    try {
      await paced(() => expireSome(tenant, ids), { isAwaited: true })
    } catch (error) {
      if (isRedisUnavailable(error)) throw error
      await visitAll(
        ids,
        (id) => expireSome(tenant, [id]),
        (failure, id) => deps.onFailure?.({ task: 'deadlines', tenant, id, error: failure }),
        { endsWithStore: true },
      )
    }
  }

  return {
    async expire(tenant, signal) {
      const key = `${tenantRoot(prefix, tenant)}:deadlines`
      const tried = new Set<string>()
      while (!signal?.aborted) {
        const found = await redis.zrangebyscore(key, '-inf', deps.now(), 'LIMIT', 0, READ)
        const ids = found.filter((id) => !tried.has(id))
        // What stands there still would do so the next time as well.
        if (ids.length === 0) return
        for (const id of ids) tried.add(id)
        const blocks: string[][] = []
        for (let at = 0; at < ids.length; at += BLOCK) blocks.push(ids.slice(at, at + BLOCK))
        const fail = (error: unknown) => deps.onFailure?.({ task: 'deadlines', tenant, error })
        await visitAll(blocks, (block) => expireBlock(tenant, block), fail, {
          atOnce: BLOCKS_AT_ONCE,
          endsWithStore: true,
        })
        if (found.length < READ) return
      }
    },
  }
}
