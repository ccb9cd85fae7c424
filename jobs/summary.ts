import type { RedisClient } from '../lib/redis.ts'
import { type JobRecord, toRecord } from './record.ts'

/** The fields of a record that make a job without its result: a few hundred bytes. Bodies and results are not read. */
export const SUMMARY_FIELDS = [
  ...[
    'type',
    'status',
    'model',
    'lane',
    'group',
    'fair_key',
    'durable',
    'flow',
    'priority',
    'tier',
    'metadata',
    'created_at',
  ],
  ...['run_at', 'started_at', 'finished_at', 'deadline', 'attempts', 'max_attempts', 'redrives'],
  ...['next_attempt_at', 'waiting_for', 'cache', 'usage', 'cost_usd', 'cost_is_estimate', 'dropped', 'error'],
  // Fields that tell when the job starts, and whether it still exists.
  ...['leader', 'entries', 'deleted', 'gather'],
]

/** Records without the fields that may be large, in the order of the ids; null where there is no such job. */
export async function readSummaries(
  redis: RedisClient,
  root: string,
  ids: readonly string[],
): Promise<(JobRecord | null)[]> {
  const answers = await Promise.all(
    ids.map((id) => redis.hmgetBuffer(`${root}:job:${id}`, ...SUMMARY_FIELDS)),
  )
  return answers.map((values) =>
    toRecord(SUMMARY_FIELDS.flatMap((name, at) => (values[at] ? [name, values[at]] : []))),
  )
}
