import type { JobType } from '../jobs/job.ts'
import type { QueueEntry } from '../jobs/queue-entry.ts'
import type { RedisClient } from '../lib/redis.ts'
import { batchesRoot, batchLanesKey, providerBatchChannel } from './keys.ts'
import type { ProviderBatchScripts } from './scripts.ts'

/** Most jobs that one script adds. */
const MOST_ADDED = 100

/** A lane's turnarounds are read from Redis at most this often, ms. */
const FORECAST_MS = 5_000

/** Lanes whose turnarounds are cached. */
const MOST_LANES = 1000

/** The jobs that wait for a provider batch instead of in their lane's queue. */
export type Gathering = {
  /** Adds entries. Idempotent. */
  add(entries: QueueEntry[]): Promise<void>
  /** 90th percentile of the turnarounds of the lane's latest batches, ms; null: not known, or not read yet. */
  turnaround(lane: string): number | null
}

export function createGathering(deps: {
  redis: RedisClient
  scripts: ProviderBatchScripts
  prefix: string
  weightOf: (tenant: string) => number
  /** Unix ms, by Redis' clock. */
  now: () => number
}): Gathering {
  const { redis, scripts, prefix, now } = deps
  const known = new Map<string, { at: number; turnaround: number | null }>()

  async function readTurnaround(lane: string): Promise<number | null> {
    const latest = await redis.lrange(`${batchesRoot(prefix, lane)}:turnarounds`, 0, -1)
    if (latest.length === 0) return null
    const sorted = latest.map(Number).sort((one, other) => one - other)
    return sorted[Math.ceil(sorted.length * 0.9) - 1]!
  }

  return {
    async add(entries) {
      const lanes = Map.groupBy(entries, ({ lane }) => lane)
      await Promise.all(
        [...lanes].map(async ([lane, group]) => {
          for (let from = 0; from < group.length; from += MOST_ADDED) {
            const args = group.slice(from, from + MOST_ADDED).flatMap((entry) => {
              const { type, leaveAt, bytes } = entry.gather!
              return [
                `${entry.id}-${entry.entry} ${entry.tenant}`,
                classOf(type, leaveAt, now()),
                entry.cost.inputTokens,
                bytes,
                leaveAt ?? 0,
                entry.tenant,
                deps.weightOf(entry.tenant),
                entry.notBefore ?? '',
              ]
            })
            await scripts('add', batchesRoot(prefix, lane), args)
          }
          // Last: a worker may trim the lane until it has jobs. After a crash before this line the outbox adds the jobs again.
          await redis.sadd(batchLanesKey(prefix), lane)
          redis.publish(providerBatchChannel(prefix), lane).catch(() => {})
        }),
      )
    },
    turnaround(lane) {
      const at = performance.now()
      const last = known.get(lane) ?? { at: Number.NEGATIVE_INFINITY, turnaround: null }
      if (at - last.at < FORECAST_MS) return last.turnaround
      // The next call returns the new value. An outdated value costs no deadline: jobs leave a batch in time.
      known.set(lane, { ...last, at })
      readTurnaround(lane).then(
        (turnaround) => known.set(lane, { at, turnaround }),
        () => {},
      )
      if (known.size > MOST_LANES) known.delete(known.keys().next().value!)
      return last.turnaround
    },
  }
}

/**
 * Returns the class of a job. Jobs of one class share batches: those of one endpoint whose times to leave differ by less than a factor of
 * two. A batch is cancelled for the job that leaves first, and would then have helped few of the others.
 */
function classOf(type: JobType, leaveAt: number | null, now: number): string {
  if (leaveAt === null) return `${type}:any`
  return `${type}:${Math.max(0, Math.floor(Math.log2(Math.max(1, (leaveAt - now) / 1000))))}`
}

export function typeOf(className: string): JobType {
  return className.slice(0, className.indexOf(':')) as JobType
}
