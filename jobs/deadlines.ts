import type { Emit } from '../lib/emitter.ts'
import { paced } from '../lib/pace.ts'
import { isRedisUnavailable, type RedisClient } from '../lib/redis.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import type { Incident } from './incidents.ts'
import { tenantRoot } from './keys.ts'
import type { Outbox } from './outbox.ts'
import type { Scripts } from './scripts.ts'

/**
 * READ: jobs read at once. BLOCK: jobs that one script fails, which holds Redis for some milliseconds. BLOCKS_AT_ONCE:
 * scripts under way at the same time.
 */
const READ = 1000
const BLOCK = 50
const BLOCKS_AT_ONCE = 4

/** Fails waiting jobs whose deadline has passed. Any number of processes may do so at once. */
export type Deadlines = {
  /**
   * Continues until no job of the tenant is past its deadline, or the signal aborts. Throws if Redis is unavailable.
   */
  expire(tenant: string, signal?: AbortSignal): Promise<void>
}

/** @param deps.now Unix ms, by Redis' clock: it chooses what to look at. The script decides by that clock itself. */
export function createDeadlines(deps: {
  redis: RedisClient
  scripts: Scripts
  outbox: Outbox
  prefix: string
  retainMs: () => number
  now: () => number
  events?: Emit<{ 'job.incident': Incident }>
  /** Called for each job that could not be failed. */
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

  /** If a block fails, its jobs are failed one by one, so that an error of one job concerns that job alone. */
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
        // Jobs that are left are tried only once. They would fail again.
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
