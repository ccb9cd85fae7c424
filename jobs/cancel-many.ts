import { paced } from '../lib/pace.ts'
import { isRedisUnavailable, type RedisClient } from '../lib/redis.ts'
import { walkIndex } from '../lib/walk-index.ts'
import type { Cancelled, CancelOptions, OpenFilter, OpenStatus } from './cancel-filter.ts'
import { JobStatus } from './job.ts'
import { groupKey, scheduleJobsKey } from './keys.ts'
import type { Outbox } from './outbox.ts'
import type { Queues } from './queue.ts'
import type { Scripts } from './scripts.ts'

const OPEN: readonly OpenStatus[] = ['scheduled', 'queued', 'running']

/**
 * BLOCK: jobs that one script looks at and cancels, which takes some milliseconds of Redis. BLOCKS_AT_ONCE: scripts
 * under way at the same time.
 */
const BLOCK = 50
const BLOCKS_AT_ONCE = 4

type Ended = {
  id: string
  was: string
  isAborted: boolean
  promoted: string
  lane: string
  entry: number
}

/**
 * Cancels many jobs, the newest first. So followers of a job are cancelled before their leader, and no follower is
 * promoted in vain.
 *
 * @param deps.abort tells the workers that the result of a running call is not needed any more
 */
export function createCancelMany(deps: {
  redis: RedisClient
  scripts: Pick<Scripts, 'run'>
  queues: Pick<Queues, 'removeMany'>
  outbox: Pick<Outbox, 'dispatchById'>
  rootOf: (tenant: string) => string
  retainMs: () => number
  abort: (tenant: string, id: string) => Promise<unknown>
  onError: (error: unknown, what: string) => void
}) {
  const { redis, scripts, rootOf } = deps

  async function cancelSome(
    tenant: string,
    filter: OpenFilter,
    ids: readonly string[],
    most: number,
    isDryRun: boolean,
  ): Promise<Cancelled> {
    const { status = '', type = '', lane = '', provider = '', group = '' } = filter
    const args = [deps.retainMs(), isDryRun ? '1' : '', most, status, type, lane, provider, group, ...ids]
    const answer = (await scripts.run('cancel-many', rootOf(tenant), args)) as Buffer[]
    const [matched, ...flat] = answer.map(String)
    const ended: Ended[] = []
    for (let at = 0; at < flat.length; at += 6) {
      const [id, was, abort, promoted, lane, entry] = flat.slice(at, at + 6)
      ended.push({
        ...{ id: id!, was: was!, lane: lane!, promoted: promoted! },
        isAborted: abort === '1',
        entry: Number(entry),
      })
    }
    await release(tenant, ended)
    return { matched: Number(matched), cancelled: ended.length }
  }

  /** What follows a cancel may fail: the maintainer queues promoted jobs, and workers drop entries of ended jobs. */
  async function release(tenant: string, ended: readonly Ended[]): Promise<void> {
    const waited = ended.filter(({ was }) => was === JobStatus.queued)
    const lanes = Map.groupBy(waited, ({ lane }) => lane)
    const steps = [
      ...ended.flatMap(({ id, isAborted }) => (isAborted ? [deps.abort(tenant, id)] : [])),
      ...ended.flatMap(({ promoted }) =>
        promoted === '' ? [] : [deps.outbox.dispatchById(tenant, promoted)],
      ),
      ...[...lanes].map(([lane, entries]) => deps.queues.removeMany(lane, entries)),
    ]
    for (const step of await Promise.allSettled(steps))
      if (step.status === 'rejected') deps.onError(step.reason, 'following up on cancelled jobs')
  }

  /**
   * The shortest index that contains all jobs of the filter, or several indexes that do together. Each is ordered by
   * creation.
   */
  async function chooseIndexes(root: string, { status, group, schedule }: OpenFilter): Promise<string[]> {
    if (schedule !== undefined) return [scheduleJobsKey(root, schedule)]
    const byStatus = OPEN.filter((one) => status === undefined || one === status).map(
      (one) => `${root}:status:${one}`,
    )
    if (group === undefined) return byStatus
    const byGroup = `${groupKey(root, group)}:jobs`
    const [inGroup, ...open] = await Promise.all([byGroup, ...byStatus].map((index) => redis.zcard(index)))
    return inGroup! < open.reduce((sum, count) => sum + count, 0) ? [byGroup] : byStatus
  }

  return async function cancelMany(
    tenant: string,
    filter: OpenFilter,
    { limit, isDryRun = false }: CancelOptions,
  ): Promise<Cancelled> {
    const root = rootOf(tenant)
    const { createdAfter = 0, createdBefore } = filter
    const total = { matched: 0, cancelled: 0, failed: 0 }
    const running = new Set<Promise<void>>()
    let lost: unknown = null
    /** How many jobs may match in the blocks that are under way. */
    let expected = 0

    async function take(ids: string[], most: number): Promise<void> {
      try {
        const step = () => cancelSome(tenant, filter, ids, most, isDryRun)
        const { matched, cancelled } = await paced(step, { isAwaited: true })
        total.matched += matched
        total.cancelled += cancelled
      } catch (error) {
        if (isRedisUnavailable(error)) lost ??= error
        else deps.onError(error, `cancelling ${ids.length} jobs`)
        total.failed += ids.length
      }
    }

    async function begin(ids: string[]): Promise<void> {
      const isNear = () => limit - total.matched - expected < ids.length
      while (running.size > 0 && (running.size >= BLOCKS_AT_ONCE || isNear())) await Promise.race(running)
      const most = Math.min(ids.length, limit - total.matched - expected)
      if (most <= 0 || lost !== null) return
      expected += most
      const one: Promise<void> = take(ids, most).finally(() => {
        expected -= most
        running.delete(one)
      })
      running.add(one)
    }

    for (const index of await chooseIndexes(root, filter)) {
      const after = createdBefore === undefined ? null : { id: '', score: String(createdBefore) }
      for await (const entries of walkIndex(redis, index, { order: 'desc', after, block: BLOCK })) {
        const ids = entries.filter(({ score }) => Number(score) >= createdAfter).map(({ id }) => id)
        if (ids.length > 0) await begin(ids)
        if (lost !== null || ids.length < entries.length || total.matched >= limit) break
      }
    }
    await Promise.all(running)
    // What was cancelled stays cancelled. The same request cancels the rest.
    if (lost !== null) throw lost
    const { failed, ...counts } = total
    return failed > 0 ? { ...counts, failed } : counts
  }
}
