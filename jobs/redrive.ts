import type { RedisClient } from '../lib/redis.ts'
import type { FailedFilter, Redriven, RedriveOptions } from './failed.ts'
import { type FailedJob, matches, walkFailed } from './failed-jobs.ts'
import type { Outbox } from './outbox.ts'
import type { Argument, Scripts } from './scripts.ts'

/** When the configuration requeues a failed job. `retry.lua` checks it by Redis' clock. */
export type Terms = {
  /** Time of the failure that is meant, Unix ms. So a script that is sent twice does not retry a later failure. */
  failedAt: number
  /** Shortest time after the failure, ms. */
  afterMs: number
  maxTimes: number
  /** Most open jobs of the tenant. */
  maxQueued: number
  /** The tenant's budget, USD a UTC day; null: no limit. */
  budgetUsdPerDay: number | null
}

/** What `retry.lua` answers. With the first four the job continues, and with the last two the tenant has no room. */
type RetryAnswer =
  | 'queued'
  | 'shared'
  | 'hit'
  | 'running'
  | 'none'
  | 'not_retryable'
  | 'not_due'
  | 'queue_full'
  | 'budget_exhausted'

const GOES_ON = new Set<RetryAnswer>(['queued', 'shared', 'hit', 'running'])

export type Redrive = {
  /** Requeues one failed or cancelled job, for a client or by the rules of the configuration. */
  retry(tenant: string, id: string, terms?: Terms): Promise<RetryAnswer>
  /** Requeues the failed jobs that match the filter. */
  redrive(tenant: string, filter: FailedFilter, options: RedriveOptions): Promise<Redriven>
}

export function createRedrive(deps: {
  redis: RedisClient
  scripts: Pick<Scripts, 'run'>
  outbox: Pick<Outbox, 'dispatchById'>
  rootOf: (tenant: string) => string
  retainMs: () => number
  /**
   * Hears of each job that continues, for a history that may have it as it ended before (Unix ms); null: there is no
   * history.
   */
  onAgain: ((root: string, id: string, endedAt: number) => void) | null
  onError: (error: unknown, what: string) => void
}): Redrive {
  const { redis, scripts, outbox, rootOf } = deps

  async function retryOne(tenant: string, id: string, terms?: Terms): Promise<RetryAnswer> {
    const args = [id, deps.retainMs(), ...(terms ? toArguments(terms) : [])]
    const [kind, endedAt] = (await scripts.run('retry', rootOf(tenant), args)) as Buffer[]
    const answer = kind!.toString() as RetryAnswer
    if (goesOn(answer)) deps.onAgain?.(rootOf(tenant), id, Number(endedAt))
    // The job continues even if the queue cannot take it now: the sweep queues what is in the outbox.
    if (answer === 'queued') {
      await outbox.dispatchById(tenant, id).catch((error) => deps.onError(error, 'queueing a job again'))
    }
    return answer
  }

  /** Null for each job that failed. If all of them did, it throws the first error. */
  async function retryEach(tenant: string, jobs: readonly { id: string }[]): Promise<(RetryAnswer | null)[]> {
    const settled = await Promise.allSettled(jobs.map(({ id }) => retryOne(tenant, id)))
    const errors = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
    if (errors.length > 0 && errors.length === jobs.length) throw errors[0]
    if (errors.length > 0) deps.onError(errors[0], `queueing ${errors.length} of ${jobs.length} jobs again`)
    return settled.map((one) => (one.status === 'fulfilled' ? one.value : null))
  }

  return {
    retry: retryOne,
    async redrive(tenant, filter, { limit, isDryRun = false, except }) {
      let matched = 0
      let retried = 0
      let failed = 0
      for await (const block of walkFailed(redis, rootOf(tenant))) {
        const found = block
          .filter((job) => matches(job, filter) && !except?.has(job.id))
          .slice(0, limit - matched)
        matched += found.length
        if (!isDryRun) {
          const answers = await retryEach(tenant, found)
          retried += answers.filter((answer) => answer !== null && goesOn(answer)).length
          failed += answers.filter((answer) => answer === null).length
        }
        if (matched === limit) break
      }
      return { matched, retried, ...(failed > 0 ? { failed } : {}) }
    },
  }
}

/** Whether the job continues after this answer. */
export function goesOn(answer: RetryAnswer): boolean {
  return GOES_ON.has(answer)
}

function toArguments({ failedAt, afterMs, maxTimes, maxQueued, budgetUsdPerDay }: Terms): Argument[] {
  return [failedAt, afterMs, maxTimes, maxQueued, budgetUsdPerDay ?? '']
}

/**
 * A rule of the configuration for failed jobs. For each job, the first rule that matches its error code and lane
 * applies.
 */
export type RedriveRule = {
  errorCodes: readonly string[]
  /** Null: all lanes. */
  lanes: readonly string[] | null
  /** How long after a failure the job is queued again, ms. */
  afterMs: number
  /** How often a job is requeued in all. */
  maxTimes: number
}

/** The rule that applies to a failed job; null: none does. */
export function ruleFor(
  job: Pick<FailedJob, 'code' | 'lane'>,
  rules: readonly RedriveRule[],
): RedriveRule | null {
  return (
    rules.find(
      ({ errorCodes, lanes }) =>
        errorCodes.includes(job.code) && (lanes === null || lanes.includes(job.lane)),
    ) ?? null
  )
}
