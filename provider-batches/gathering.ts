import type { JobType } from '../jobs/job.ts'
import type { QueueEntry } from '../jobs/queue-entry.ts'
import type { RedisClient } from '../lib/redis.ts'
import { batchesRoot, batchLanesKey, providerBatchChannel } from './keys.ts'
import type { ProviderBatchScripts } from './scripts.ts'

/** Most jobs that one script adds. */
const MOST_ADDED = 100

/** A forecast is read from Redis at most this often, ms. */
const FORECAST_MS = 5_000

/** Lanes whose turnarounds are remembered. */
const MOST_LANES = 1000

/** Where jobs wait for a provider batch, instead of their lane's queue. */
export type Gathering = {
  /** Puts entries there. Idempotent. */
  add(entries: QueueEntry[]): Promise<void>
  /** How long the lane's batches took lately: nine of ten were faster, ms; null: not known, or not yet read. */
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
          // First, so that no job waits in a lane that nobody looks at.
          await redis.sadd(batchLanesKey(prefix), lane)
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
          redis.publish(providerBatchChannel(prefix), lane).catch(() => {})
        }),
      )
    },
    turnaround(lane) {
      const at = performance.now()
      const last = known.get(lane) ?? { at: Number.NEGATIVE_INFINITY, turnaround: null }
      if (at - last.at < FORECAST_MS) return last.turnaround
      // The next question has the answer; a guess costs no deadline, for jobs leave in time.
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
 * Jobs of one class share batches: those of one endpoint that leave at about the same time, within a factor of two, so that a batch that is
 * cancelled for the first of them was of no more use to most of the others.
 */
function classOf(type: JobType, leaveAt: number | null, now: number): string {
  if (leaveAt === null) return `${type}:any`
  return `${type}:${Math.max(0, Math.floor(Math.log2(Math.max(1, (leaveAt - now) / 1000))))}`
}

export function typeOf(className: string): JobType {
  return className.slice(0, className.indexOf(':')) as JobType
}
