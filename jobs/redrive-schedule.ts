import type { RedisClient } from '../lib/redis.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import { type FailedJob, walkFailed } from './failed-jobs.ts'
import { goesOn, type Redrive, type RedriveRule, ruleFor } from './redrive.ts'

/** Longest and shortest time between two walks over the failed jobs of a tenant, for all workers together, ms. */
const LONGEST_PAUSE_MS = 60_000
const SHORTEST_PAUSE_MS = 1000
/** How many walks fit between a failure and its redrive, so that a redrive is late by a part of its delay at most. */
const WALKS = 10
/**
 * The pause after a walk lasts this many times as long as the walk, so that a million failures take only a part of a
 * worker's time.
 */
const REST_FACTOR = 20

/** A tenant's limits in the current configuration; see `TenantLimits`. */
export type Room = { maxQueued: number; budgetUsdPerDay: number | null }

/** What the current configuration queues again. */
export type RedrivePolicy = {
  rules(): readonly RedriveRule[]
  /** Null for a tenant that the configuration no longer knows. */
  roomOf(tenant: string): Room | null
  /** False for a lane that the configuration no longer has, where a job would wait for ever. */
  isServed(lane: string): boolean
  /** False for a job whose answer no one would read any more. */
  isWanted(job: FailedJob): boolean
}

export type RedriveSchedule = {
  /** Queues again what is due, for each tenant whose turn it is, until the signal aborts. Returns how many jobs. */
  run(signal?: AbortSignal): Promise<number>
}

/**
 * Requeues failed jobs by the rules of the configuration. Any number of workers may run it, because a key of each
 * tenant lets only one of them walk. If two walk after all (the first was slow), the script of each redrive lets only
 * one of them through.
 */
export function createRedriveSchedule(deps: {
  redis: RedisClient
  redrive: Pick<Redrive, 'retry'>
  rootOf: (tenant: string) => string
  tenants: () => Promise<string[]>
  /**
   * Tenants that something was written for lately. In the others, no job has failed since they were looked at. Null:
   * not known, and all are looked at.
   */
  activeTenants: (() => Promise<string[]>) | null
  policy: RedrivePolicy
  isMemoryShort: () => Promise<boolean>
  now: () => number
  /** This many jobs of a tenant were queued again. */
  onRedriven: (tenant: string, count: number) => void
  /** Called for each tenant whose failed jobs could not be walked. */
  onFailure: OnUpkeepFailure
}): RedriveSchedule {
  const { redis, redrive, rootOf, policy, now } = deps
  /**
   * Until when a tenant has nothing to redrive unless something is written for it, by `performance.now`. It is valid
   * during one signal's runs, because another process may run the task between those of two signals.
   */
  const restUntil = new Map<string, number>()
  let latest: AbortSignal | undefined

  async function walk(
    tenant: string,
    rules: readonly RedriveRule[],
    admission: Room,
    signal: AbortSignal | undefined,
  ): Promise<{ count: number; nextDue: number }> {
    let count = 0
    let nextDue = Number.POSITIVE_INFINITY
    for await (const block of walkFailed(redis, rootOf(tenant))) {
      if (signal?.aborted) break
      const time = now()
      const due = block.flatMap((job) => {
        const rule = ruleFor(job, rules)
        if (rule === null || job.isAwaited || job.redrives >= rule.maxTimes) return []
        if (!policy.isServed(job.lane) || !policy.isWanted(job)) return []
        nextDue = Math.min(nextDue, job.failedAt + rule.afterMs)
        return mayBeDue(job, rule, time) ? [{ job, rule }] : []
      })
      const answers: Awaited<ReturnType<Redrive['retry']>>[] = []
      await visitAll(
        due,
        async ({ job: { id, failedAt }, rule: { afterMs, maxTimes } }) =>
          answers.push(await redrive.retry(tenant, id, { failedAt, afterMs, maxTimes, ...admission })),
        (error, { job: { id } }) => deps.onFailure({ task: 'redrive', tenant, id, error }),
        { atOnce: due.length },
      )
      count += answers.filter(goesOn).length
      // The next walk finds the rest. A job for which the budget has no room may cost more than those after it, so the
      // walk continues then.
      if (answers.includes('queue_full')) break
    }
    return { count, nextDue }
  }

  async function takeTurn(
    tenant: string,
    rules: readonly RedriveRule[],
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const room = policy.roomOf(tenant)
    if (room === null) return 0
    const key = `${rootOf(tenant)}:redriving`
    const pauseMs = pauseOf(rules)
    const rest = (ms: number) => restUntil.set(tenant, performance.now() + ms)
    if ((await redis.exists(`${rootOf(tenant)}:status:failed`)) === 0) {
      rest(LONGEST_PAUSE_MS)
      return 0
    }
    if ((await redis.set(key, '1', 'PX', pauseMs, 'NX')) === null) return 0
    const begun = performance.now()
    const { count, nextDue } = await walk(tenant, rules, room, signal)
    rest(Math.min(LONGEST_PAUSE_MS, Math.max(pauseMs, nextDue - now())))
    const restMs = Math.round(REST_FACTOR * (performance.now() - begun))
    if (restMs > pauseMs) await redis.set(key, '1', 'PX', restMs)
    if (count > 0) deps.onRedriven(tenant, count)
    return count
  }

  return {
    async run(signal) {
      const rules = policy.rules()
      if (rules.length === 0 || (await deps.isMemoryShort())) return 0
      if (signal !== latest) restUntil.clear()
      latest = signal
      for (const tenant of (await deps.activeTenants?.()) ?? restUntil.keys()) restUntil.delete(tenant)
      let count = 0
      const turn = async (tenant: string) => {
        if (!signal?.aborted) count += await takeTurn(tenant, rules, signal)
      }
      const onFailure = (error: unknown, tenant: string) => deps.onFailure({ task: 'redrive', tenant, error })
      const time = performance.now()
      const tenants = (await deps.tenants()).filter((tenant) => (restUntil.get(tenant) ?? 0) <= time)
      await visitAll(tenants, turn, onFailure)
      return count
    },
  }
}

/**
 * Saves the script if the answer is known. This process' view of Redis' time may be off a little, and Redis decides.
 */
function mayBeDue(job: FailedJob, rule: RedriveRule, now: number): boolean {
  return job.failedAt + rule.afterMs <= now + SHORTEST_PAUSE_MS
}

function pauseOf(rules: readonly RedriveRule[]): number {
  const soonest = Math.min(...rules.map(({ afterMs }) => afterMs))
  return Math.round(Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, soonest / WALKS)))
}
