import type { RedisClient } from '../lib/redis.ts'
import type { FailedFilter, Redriven, RedriveOptions } from './failed.ts'
import { type FailedJob, matches, walkFailed } from './failed-jobs.ts'
import type { Outbox } from './outbox.ts'
import type { Argument, Scripts } from './scripts.ts'

/** When the configuration has a failed job queued again; `again.lua` goes by it, on the clock of Redis. */
export type Terms = {
  /** The failure that is meant, by its time, Unix ms: no other is made good by a script that is sent twice. */
  failedAt: number
  /** Not sooner after the failure, ms. */
  afterMs: number
  maxTimes: number
  /** Open jobs of the tenant. */
  maxQueued: number
  /** USD a UTC day; null: no limit. */
  budgetUsdPerDay: number | null
}

/** What `again.lua` answers: the first four say that the job goes on, the last two that the tenant has no room. */
type Answer =
  | 'queued'
  | 'shared'
  | 'hit'
  | 'running'
  | 'none'
  | 'not_retryable'
  | 'not_due'
  | 'queue_full'
  | 'budget_exhausted'

const GOES_ON = new Set<Answer>(['queued', 'shared', 'hit', 'running'])

export type Redrive = {
  /** One failed or cancelled job by hand, or on the terms of the configuration. */
  again(tenant: string, id: string, terms?: Terms): Promise<Answer>
  /** Queues the failed jobs again that the filter names. */
  redrive(tenant: string, filter: FailedFilter, options: RedriveOptions): Promise<Redriven>
}

export function createRedrive(deps: {
  redis: RedisClient
  scripts: Pick<Scripts, 'run'>
  outbox: Pick<Outbox, 'dispatchById'>
  rootOf: (tenant: string) => string
  retainMs: () => number
}): Redrive {
  const { redis, scripts, outbox, rootOf } = deps

  async function again(tenant: string, id: string, terms?: Terms): Promise<Answer> {
    const args = [id, deps.retainMs(), ...(terms ? toArguments(terms) : [])]
    const [kind] = (await scripts.run('again', rootOf(tenant), args)) as Buffer[]
    const answer = kind!.toString() as Answer
    if (answer === 'queued') await outbox.dispatchById(tenant, id)
    return answer
  }

  return {
    again,
    async redrive(tenant, filter, { limit, isDryRun = false }) {
      let matched = 0
      let retried = 0
      for await (const block of walkFailed(redis, rootOf(tenant))) {
        const found = block.filter((job) => matches(job, filter)).slice(0, limit - matched)
        matched += found.length
        if (!isDryRun) {
          const answers = await Promise.all(found.map(({ id }) => again(tenant, id)))
          retried += answers.filter(goesOn).length
        }
        if (matched === limit) break
      }
      return { matched, retried }
    },
  }
}

export function goesOn(answer: Answer): boolean {
  return GOES_ON.has(answer)
}

function toArguments({ failedAt, afterMs, maxTimes, maxQueued, budgetUsdPerDay }: Terms): Argument[] {
  return [failedAt, afterMs, maxTimes, maxQueued, budgetUsdPerDay ?? '']
}

/** What the configuration says of failed jobs: the first rule that names a job's error code and lane is for it. */
export type RedriveRule = {
  errorCodes: readonly string[]
  /** Null: all. */
  lanes: readonly string[] | null
  /** How long after a failure the job is queued again, ms. */
  afterMs: number
  /** How often it is, altogether. */
  maxTimes: number
}

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
