import type { RedisClient } from '../lib/redis.ts'
import type { FailureCounts } from './failed.ts'
import { type FailedJob, walkFailed } from './failed-jobs.ts'
import { isoTime } from './record.ts'

/** How long a count is valid, ms. */
const KEPT_MS = 5000

/** Counting is work for its process and Redis. So a count is also valid for this many times as long as it took. */
const REST_FACTOR = 20

/**
 * Providers choose the codes. If there are more classes than this, the others are counted as one class of each lane.
 */
const MOST_CLASSES = 1000
const OTHER_CODE = '(other)'

export type Failures = { count(tenant: string): Promise<FailureCounts> }

type CachedCounts = { counts: Promise<FailureCounts>; until: number }

/**
 * Counts failed jobs by lane and error code. Callers that ask during a count or shortly after it get the same count.
 */
export function createFailures(deps: {
  redis: RedisClient
  rootOf: (tenant: string) => string
  now: () => number
  /** True: jobs that the history has are left out, because the history counts them. */
  withoutCopied: boolean
}): Failures {
  const { redis, rootOf, now } = deps
  const known = new Map<string, CachedCounts>()

  async function count(tenant: string): Promise<FailureCounts> {
    const tally = createTally()
    for await (const jobs of walkFailed(redis, rootOf(tenant))) {
      for (const job of jobs) if (!deps.withoutCopied || !job.isCopied) tally.add(job)
    }
    return { ...tally.result(), counted_at: isoTime(now()) }
  }

  return {
    count(tenant) {
      const begun = now()
      const kept = known.get(tenant)
      if (kept && kept.until > begun) return kept.counts
      const counted: CachedCounts = { counts: count(tenant), until: Number.POSITIVE_INFINITY }
      known.set(tenant, counted)
      counted.counts.then(
        () => {
          counted.until = now() + Math.max(KEPT_MS, REST_FACTOR * (now() - begun))
        },
        () => known.delete(tenant),
      )
      return counted.counts
    },
  }
}

type Class = Pick<FailedJob, 'lane' | 'code' | 'isRetryable'> & { count: number; first: number; last: number }

function createTally() {
  const classes = new Map<string, Class>()
  let total = 0

  function classOf(job: FailedJob): Class {
    const code = classes.size < MOST_CLASSES || classes.has(keyOf(job.lane, job.code)) ? job.code : OTHER_CODE
    const key = keyOf(job.lane, code)
    const known = classes.get(key)
    if (known) return known
    const { lane, isRetryable, failedAt } = job
    const fresh = { lane, code, isRetryable, count: 0, first: failedAt, last: failedAt }
    classes.set(key, fresh)
    return fresh
  }

  return {
    add(job: FailedJob) {
      const found = classOf(job)
      total++
      found.count++
      found.first = Math.min(found.first, job.failedAt)
      if (job.failedAt < found.last) return
      found.last = job.failedAt
      found.isRetryable = job.isRetryable
    },
    result(): Pick<FailureCounts, 'classes' | 'total'> {
      const sorted = [...classes.values()].sort((a, b) => b.count - a.count || b.last - a.last)
      return {
        total,
        classes: sorted.map(({ lane, code, count, first, last, isRetryable }) => ({
          lane,
          code,
          count,
          first_at: isoTime(first),
          last_at: isoTime(last),
          retryable: isRetryable,
        })),
      }
    },
  }
}

function keyOf(lane: string, code: string): string {
  return `${lane}\n${code}`
}
