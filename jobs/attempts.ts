import type { RedisClient } from '../lib/redis.ts'
import type { Usage } from '../lib/usage.ts'
import type { Attempt } from './job.ts'
import { isoTime, type StoredUsage } from './record.ts'

/** The HTTP status of a call that completed its job, unless its end names another one. */
export const USUAL_STATUS = 200

/** Every call made for a job, in order; null when there is no such job. */
export async function readAttempts(redis: RedisClient, root: string, id: string): Promise<Attempt[] | null> {
  const key = `${root}:job:${id}`
  const [fields, [deleted, status, usage]] = await Promise.all([
    redis.hgetall(`${key}:attempts`),
    redis.hmget(key, 'deleted', 'status', 'usage'),
  ])
  return status && !deleted ? attemptsOf(fields, usage ?? '') : null
}

/** @param usage of the job, as it is stored; '' for none */
export function attemptsOf(fields: Record<string, string>, usage: string): Attempt[] {
  return toAttempts(fields, readUsage(usage))
}

/** A stored usage without the members that an attempt shows elsewhere or not at all. */
function readUsage(text: string): Usage | null {
  if (text === '') return null
  const { is_estimate: _, tier: __, saved_nano: ___, ...usage } = JSON.parse(text) as StoredUsage
  return usage
}

/**
 * Joins the intent of each call (`n`) with its end (`n:end`).
 *
 * @param jobUsage the usage of the job. It is that of the call that completed the job, whose end does not repeat it.
 */
function toAttempts(fields: Record<string, string>, jobUsage: Usage | null): Attempt[] {
  return Object.keys(fields)
    .filter((name) => !name.endsWith(':end'))
    .map(Number)
    .sort((a, b) => a - b)
    .map((call) => {
      const begun = JSON.parse(fields[call]!)
      const ended = JSON.parse(fields[`${call}:end`] ?? '{}')
      return {
        attempt: call,
        provider: begun.provider,
        model: begun.model,
        source: ended.source ?? null,
        started_at: isoTime(begun.started_at),
        latency_ms: ended.latency_ms ?? null,
        outcome: ended.outcome ?? 'running',
        status:
          ended.status === undefined && ended.outcome === 'completed' ? USUAL_STATUS : (ended.status ?? null),
        error_code: ended.error_code ?? null,
        tier: ended.tier ?? begun.tier ?? 'standard',
        served_tier: ended.outcome === 'completed' ? (ended.served_tier ?? 'standard') : null,
        usage: toUsage(ended, jobUsage),
        usage_is_estimate: ended.usage_is_estimate ?? false,
        cost_usd: ended.cost_usd ?? null,
        cost_is_estimate: ended.cost_is_estimate ?? false,
        waited_ms: begun.waited_ms,
        waited_for: begun.waited_for ?? null,
        ambiguous: ended.ambiguous ?? false,
        coalesced: begun.coalesced ?? 1,
      }
    })
}

function toUsage(
  { outcome, usage }: { outcome?: string; usage?: StoredUsage | null },
  jobUsage: Usage | null,
) {
  if (usage === undefined) return outcome === 'completed' ? jobUsage : null
  return usage === null ? null : readUsage(JSON.stringify(usage))
}
