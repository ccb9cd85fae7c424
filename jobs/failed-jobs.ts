import { loadScript, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'
import { walkIndex } from '../lib/walk-index.ts'
import type { FailedFilter } from './failed.ts'
import { JobStatus, type JobType } from './job.ts'

/** Records looked at in one round trip. */
const BLOCK = 200

const script = loadScript(new URL('./lua/failed.lua', import.meta.url))

/** The code of an error that has none. */
const NO_CODE = 'unknown'

/** What can be known about a failed job without reading its request. */
export type FailedJob = {
  id: string
  group: string | null
  lane: string
  type: JobType
  code: string
  isRetryable: boolean
  /** Unix ms. */
  failedAt: number
  /** How often the setting `redrive` queued the job again. */
  redrives: number
  /** A client held its connection for the answer, and has heard of the failure. */
  isAwaited: boolean
  /** The history has the job, from this failure or an earlier one. */
  isCopied: boolean
}

/**
 * Walks a tenant's failed jobs by creation, the oldest first, one block at a time. The index may be of any size, and
 * jobs may leave or enter it during the walk. A job that is queued again and fails again is met only once.
 */
export async function* walkFailed(redis: RedisClient, root: string): AsyncGenerator<FailedJob[]> {
  const index = `${root}:status:${JobStatus.failed}`
  for await (const entries of walkIndex(redis, index, { order: 'asc', after: null, block: BLOCK })) {
    yield await readFailed(
      redis,
      root,
      entries.map(({ id }) => id),
    )
  }
}

/** Whether a failed job matches the filter. */
export function matches(job: FailedJob, filter: FailedFilter): boolean {
  const { group, lane, errorCode, type, failedAfter, failedBefore } = filter
  if (group !== undefined && job.group !== group) return false
  if (lane !== undefined && job.lane !== lane) return false
  if (errorCode !== undefined && job.code !== errorCode) return false
  if (type !== undefined && job.type !== type) return false
  if (failedAfter !== undefined && job.failedAt < failedAfter) return false
  return failedBefore === undefined || job.failedAt < failedBefore
}

async function readFailed(redis: RedisClient, root: string, ids: string[]): Promise<FailedJob[]> {
  const answers = (await runScript(redis, script, root, ids)) as string[][]
  return answers.flatMap((fields, at) => {
    // The job left the index after the index was read.
    if (fields.length === 0) return []
    const [group, lane, type, code, isRetryable, failedAt, redrives, isAwaited, isCopied] = fields
    return {
      id: ids[at]!,
      group: group || null,
      lane: lane!,
      type: type as JobType,
      code: code || NO_CODE,
      isRetryable: isRetryable === '1',
      failedAt: Number(failedAt),
      redrives: Number(redrives),
      isAwaited: isAwaited === '1',
      isCopied: isCopied === '1',
    }
  })
}
