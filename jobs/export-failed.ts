import type { JsonObject } from '../lib/json.ts'
import type { RedisClient } from '../lib/redis.ts'
import { UnreadableError } from '../lib/sealer.ts'
import type { AtRest } from './at-rest.ts'
import type { FailedFilter, FailedRequest } from './failed.ts'
import { matches, walkFailed } from './failed-jobs.ts'
import { type CacheMode, JobStatus, type WebhookTarget } from './job.ts'
import type { Reader } from './read.ts'
import { bodyOf, type JobRecord, numberOf, textOf } from './record.ts'

/** Records are read up to this many bytes of stored bodies, or this many jobs, at once. A single job may be larger. */
const BLOCK_BYTES = 1024 * 1024
const BLOCK_JOBS = 100

/** The longest time-out that a create may ask for, ms. A lane may allow a call longer. */
const LONGEST_TIMEOUT_MS = 60 * 60 * 1000

/**
 * A tenant's failed jobs that match the filter, the oldest first, up to a limit. Reads on only when the caller asks for
 * more, and holds one block.
 */
export async function* exportFailed(
  deps: { redis: RedisClient; reader: Reader; atRest: AtRest },
  root: string,
  filter: FailedFilter,
  limit: number,
  signal?: AbortSignal,
): AsyncGenerator<FailedRequest> {
  const { redis, reader } = deps
  let left = limit
  for await (const block of walkFailed(redis, root)) {
    if (signal?.aborted) return
    const ids = block.filter((job) => matches(job, filter)).map(({ id }) => id)
    const chosen = ids.slice(0, left)
    for (const some of await divide(redis, root, chosen)) {
      const records = await reader.records(root, some)
      for (const [at, id] of some.entries()) {
        const record = records[at]
        if (!record || textOf(record, 'status') !== JobStatus.failed) continue
        const [job] = await reader.jobs(root, [{ id, record }])
        yield { job: job!, create: toCreate(deps, root, id, record) }
      }
    }
    left -= chosen.length
    if (left === 0) return
  }
}

async function divide(redis: RedisClient, root: string, ids: string[]): Promise<string[][]> {
  const sizes = await Promise.all(ids.map((id) => redis.hstrlen(`${root}:job:${id}`, 'body')))
  const blocks: string[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const [at, id] of ids.entries()) {
    bytes += sizes[at]!
    if (bytes > BLOCK_BYTES || blocks.at(-1)!.length === BLOCK_JOBS) {
      blocks.push([])
      bytes = sizes[at]!
    }
    blocks.at(-1)!.push(id)
  }
  return blocks
}

/**
 * A failed job in the form of a submission. Times and the idempotency key are left out, because they are in the past or
 * used.
 */
export function toCreate(
  { atRest }: { atRest: AtRest },
  root: string,
  id: string,
  record: JobRecord,
): JsonObject | null {
  const body = readBody(atRest, root, id, record)
  if (body === null) return null
  const timeoutMs = numberOf(record, 'timeout_ms')
  const webhook = textOf(record, 'webhook')
  const metadata = textOf(record, 'metadata')
  const group = textOf(record, 'group')
  return {
    type: textOf(record, 'type'),
    body,
    priority: textOf(record, 'priority'),
    ...(timeoutMs === null || timeoutMs > LONGEST_TIMEOUT_MS ? {} : { timeout_ms: timeoutMs }),
    max_attempts: numberOf(record, 'max_attempts'),
    cache: textOf(record, 'cache_mode') as CacheMode,
    ...(webhook === null ? {} : { webhook: JSON.parse(webhook) as WebhookTarget }),
    ...(group === null ? {} : { group }),
    ...(metadata === null ? {} : { metadata: JSON.parse(metadata) as Record<string, string> }),
  }
}

function readBody(atRest: AtRest, root: string, id: string, record: JobRecord): JsonObject | null {
  try {
    return bodyOf(id, record, { root, atRest })
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error
    atRest.onUnreadable(error, id)
    return null
  }
}
