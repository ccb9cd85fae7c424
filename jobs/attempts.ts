import type { RedisClient } from '../lib/redis.ts'
import type { Attempt } from './job.ts'
import { isoTime } from './record.ts'

/** Every call made for a job, in order; null when there is no such job. */
export async function readAttempts(redis: RedisClient, root: string, id: string): Promise<Attempt[] | null> {
  const key = `${root}:job:${id}`
  const [fields, deleted, status] = await Promise.all([
    redis.hgetall(`${key}:attempts`),
    redis.hget(key, 'deleted'),
    redis.hget(key, 'status'),
  ])
  return status && !deleted ? toAttempts(fields) : null
}

/** Joins each call's intent (`n`) with its end (`n:end`). */
function toAttempts(fields: Record<string, string>): Attempt[] {
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
        started_at: isoTime(begun.started_at),
        latency_ms: ended.latency_ms ?? null,
        outcome: ended.outcome ?? 'running',
        status: ended.status ?? null,
        error_code: ended.error_code ?? null,
        usage: ended.usage ?? null,
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
