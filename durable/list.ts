import type { RedisClient } from '../lib/redis.ts'
import { type IndexEntry, walkIndex } from '../lib/walk-index.ts'
import type { DurableRunPage, DurableRunSummary } from './runs.ts'

/** Runs read in one round trip. */
const BLOCK = 200

/**
 * Lists a tenant's durable runs, newest first.
 *
 * @param root of the tenant's keys
 * @param after the `place` of the previous page's last run, which may have been deleted since
 */
export async function listDurableRuns(
  redis: RedisClient,
  root: string,
  limit: number,
  after: string | null,
): Promise<DurableRunPage> {
  const index = `${root}:durables:created`
  const runs: DurableRunSummary[] = []
  const block = Math.min(BLOCK, limit + 1)
  for await (const entries of walkIndex(redis, index, { order: 'desc', after: toPlace(after), block })) {
    for (const { entry, run } of await readRuns(redis, root, entries)) {
      // A process of an older release deleted the run; it does not know this index.
      if (run === null) await redis.zrem(index, entry.id)
      else if (runs.length === limit) return { runs, hasMore: true }
      else runs.push(run)
    }
  }
  return { runs, hasMore: false }
}

function toPlace(text: string | null): IndexEntry | null {
  if (text === null) return null
  const [score, id] = text.split(':') as [string, string]
  return { id, score }
}

function readRuns(redis: RedisClient, root: string, entries: readonly IndexEntry[]) {
  return Promise.all(
    entries.map(async (entry) => {
      const [[id, created, steps, signals], kept] = await Promise.all([
        redis.hmget(`${root}:durable:${entry.id}`, 'id', 'created_at', 'steps', 'signals'),
        redis.zscore(`${root}:durables`, entry.id),
      ])
      const run: DurableRunSummary | null = id
        ? {
            id,
            place: `${entry.score}:${entry.id}`,
            createdAt: Number(created),
            keptUntil: Number(kept),
            steps: Number(steps ?? 0),
            signals: Number(signals ?? 0),
          }
        : null
      return { entry, run }
    }),
  )
}
