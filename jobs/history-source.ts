import type { RedisClient } from '../lib/redis.ts'
import type { AnswerStore } from './answer-store.ts'
import type { Scripts } from './scripts.ts'

/** An ended job as Redis holds it. Encrypted parts stay encrypted. */
export type EndedJob = {
  id: string
  /** Without body and result, and without fields that only matter in Redis. */
  record: Record<string, string>
  /** JSON texts: the record, the fields of its attempts, and those of its deliveries, the oldest first. */
  texts: { record: string; attempts: string; deliveries: string }
  calls: number
  /** How many of these calls have no price. */
  unpricedCalls: number
  eventCount: number
  /** `<status> <billionths>` that the history has already; '': the history does not have the job. */
  copied: string
  /** Null: it was not asked for, or there is none. */
  body: Buffer | null
  /** `key`: where the history keeps the result. Jobs with the same answer have the same key. */
  result: { key: string; value: Buffer } | null
}

/**
 * What was copied, to mark the job: when it ended, how long it stays in Redis from then on, what it cost (billionths of
 * a USD), and how many of its calls have no price.
 */
export type CopiedJob = {
  id: string
  finishedAt: string
  hotMs: number
  costNano: number
  unpricedCalls: number
}

/** A job from the history that Redis gets back. */
export type RestoredJob = {
  id: string
  record: ReadonlyMap<string, Buffer | string>
  attempts: Record<string, string>
  /** As JSON text, the oldest first. */
  deliveries: string
  eventCount: number
  /** As JSON text. */
  lastEvent: string
  costNano: number
}

/**
 * Jobs that one script reads, and bytes of bodies and results after which it stops, so that it does not hold Redis for
 * long.
 */
const SCRIPT_JOBS = 50
const SCRIPT_BYTES = 1024 * 1024
/** The bytes after which one block ends. */
const BLOCK_BYTES = 8 * 1024 * 1024

/** More events than this are not restored, because that would hold Redis for long. */
const MOST_EVENTS = 20_000

/**
 * The newest block that is done, from what Redis stores. If Redis was emptied, it stores none, and all older blocks
 * count as done. Numbers of blocks are times, and no block that begins from now on has a smaller one.
 */
export function toDoneBlock(stored: string | null | undefined, now: number): number {
  return stored == null ? now - CLOCK_ERROR_MS : Number(stored)
}

/** How far a process' view of Redis' time may be off at most, ms. */
const CLOCK_ERROR_MS = 1000

/** Prefix for the id of a job that the history has to delete. */
const DELETE = 'delete:'

/** Prefix for the id of a delivery that was sent again and has to be copied to its job in the history. */
const DELIVERY = 'delivery:'

/** A delivery that is sent again is kept in Redis for this long, ms. */
const REDELIVERY_MS = 2 * 86_400_000

/** The process that noted a deletion does it itself within this time, ms. */
const DELETE_AFTER_MS = 1000

/** What is due for the history: ended jobs and deliveries to copy, and deleted jobs. */
export type DueForHistory = { block: number; ids: string[]; deliveries: string[]; deleted: string[] }

/** What the history knew about a job that it has deleted. Redis deletes it too. */
export type RemovedJob = { idempotencyKey: string | null; deliveries: string[] }

/** The Redis side of what moves to the history and back. `root` is the tenant's. */
export type HistorySource = {
  /** What is due next, with the number of its block; null: nothing is due. */
  due(root: string, most: number): Promise<DueForHistory | null>
  /**
   * Reads those of the first of these ids that are still ended jobs. `looked`: how many ids were looked at, because it
   * stops after some megabytes.
   *
   * @param keepsContent with bodies and results
   */
  read(
    root: string,
    ids: readonly string[],
    keepsContent: boolean,
  ): Promise<{ looked: number; jobs: EndedJob[] }>
  /**
   * Marks these jobs and deliveries as copied, and the block as done. Call it once for a block. Jobs with files stay in
   * Redis for `lifeMs` after their end.
   */
  mark(
    root: string,
    block: number,
    lifeMs: number,
    copied: readonly CopiedJob[],
    deliveries: readonly string[],
  ): Promise<void>
  /** Nothing is done about these until then (Unix ms). */
  postpone(root: string, due: Partial<Omit<DueForHistory, 'block'>>, until: number): Promise<void>
  /** Notes that the history has to delete this job, even if this process dies. */
  noteDeletion(root: string, id: string, now: number): Promise<void>
  /** The history has deleted the job. `removed` is what it knew about it. */
  endDeletion(root: string, id: string, removed: RemovedJob | null): Promise<void>
  /** Fields of those of these deliveries that Redis has. */
  deliveries(root: string, ids: readonly string[]): Promise<Record<string, string>[]>
  /** Puts the delivery of a moved job back into Redis for some days. Fields that Redis has already are kept. */
  restoreDelivery(root: string, fields: Record<string, string>): Promise<void>
  /** Those of these ids that Redis has, and those that the history has to delete. */
  known(root: string, ids: readonly string[]): Promise<Set<string>>
  /** Those of these ids that the history has to delete and may still have. */
  deleted(root: string, ids: readonly string[]): Promise<Set<string>>
  /** How many jobs wait, and when the first of them ended (Unix ms). */
  backlog(root: string): Promise<{ count: number; since: number | null }>
  /** The newest block that is marked as copied. */
  doneBlock(root: string): Promise<number>
  /** False: Redis has the job already, or it was deleted. */
  restore(root: string, job: RestoredJob, hotMs: number): Promise<boolean>
}

export function createHistorySource(deps: {
  redis: RedisClient
  scripts: Pick<Scripts, 'run'>
  answers: Pick<AnswerStore, 'read'>
  /** Unix ms, by Redis' clock. */
  now: () => number
}): HistorySource {
  const { redis, scripts, answers } = deps

  /** One call of the script. */
  async function readSome(root: string, ids: readonly string[], keepsContent: boolean) {
    const found = (await scripts.run('history-read', root, [
      ...[SCRIPT_BYTES, keepsContent ? '1' : ''],
      ...ids,
    ])) as (ReadJob | null)[]
    const jobs = await Promise.all(
      found.map(async (one, at): Promise<EndedJob | null> => {
        if (one === null) return null
        const job = toEndedJob(ids[at]!, one)
        if (job.result === null || job.result.value !== null) return job as EndedJob
        const { hash, answer } = job.record
        const [value] = await answers.read(root, [{ hash: hash!, by: answer! }])
        // The answer is gone, because the job was deleted just now.
        return value == null ? null : { ...job, result: { key: job.result.key, value } }
      }),
    )
    return { looked: found.length, jobs: jobs.filter((job) => job !== null) }
  }

  async function deliveriesOf(root: string, ids: readonly string[]): Promise<Record<string, string>[]> {
    const found = await Promise.all(ids.map((id) => redis.hgetall(`${root}:delivery:${id}`)))
    return found.filter((fields) => fields.id !== undefined)
  }

  async function mark(
    root: string,
    block: number,
    lifeMs: number,
    copied: readonly CopiedJob[],
    deliveries: readonly string[],
  ) {
    const unmarked = deliveries.map((id) => toUnmarked(DELIVERY + id))
    const lines = [...copied, ...unmarked].map(
      ({ id, finishedAt, hotMs, costNano, unpricedCalls }) =>
        `${id} ${finishedAt} ${hotMs} ${costNano} ${unpricedCalls}`,
    )
    await scripts.run('history-mark', root, [block, lifeMs, lines.join('\n')])
  }

  async function deleted(root: string, ids: readonly string[]): Promise<Set<string>> {
    const scores = await Promise.all(ids.map((id) => redis.zscore(`${root}:history`, DELETE + id)))
    return new Set(ids.filter((_id, at) => scores[at] !== null))
  }

  return {
    async due(root, most) {
      const [block, ...ids] = (await scripts.run('history-due', root, [most])) as [number?, ...Buffer[]]
      if (block === undefined) return null
      const names = ids.map(String)
      return {
        block,
        ids: names.filter((name) => !name.startsWith(DELETE) && !name.startsWith(DELIVERY)),
        deliveries: restOf(DELIVERY, names),
        deleted: restOf(DELETE, names),
      }
    },

    async read(root, ids, keepsContent) {
      const jobs: EndedJob[] = []
      let looked = 0
      let bytes = 0
      while (looked < ids.length && bytes < BLOCK_BYTES) {
        const some = await readSome(root, ids.slice(looked, looked + SCRIPT_JOBS), keepsContent)
        for (const job of some.jobs) bytes += (job.body?.length ?? 0) + (job.result?.value.length ?? 0)
        jobs.push(...some.jobs)
        looked += some.looked
      }
      return { looked, jobs }
    },

    mark,

    async postpone(root, { ids = [], deliveries = [], deleted: gone = [] }, until) {
      const names = [...ids, ...deliveries.map((id) => DELIVERY + id), ...gone.map((id) => DELETE + id)]
      if (names.length === 0) return
      await redis.zadd(`${root}:history`, 'XX', ...names.flatMap((name) => [until, name]))
    },

    async noteDeletion(root, id, now) {
      await redis.zadd(`${root}:history`, now + DELETE_AFTER_MS, DELETE + id)
    },

    async endDeletion(root, id, removed) {
      const { idempotencyKey: key = null, deliveries: ids = [] } = removed ?? {}
      // From now on, the idempotency key makes a new job.
      if (key !== null && (await redis.hget(`${root}:idempotency:${key}`, 'id')) === id) {
        await redis.hdel(`${root}:idempotency:${key}`, 'moved')
      }
      if (ids.length > 0) {
        await redis
          .multi()
          .del(...ids.map((delivery) => `${root}:delivery:${delivery}`))
          .zrem(`${root}:webhooks`, ...ids)
          .zrem(`${root}:webhooks:failing`, ...ids)
          .exec()
      }
      await redis.zrem(`${root}:history`, DELETE + id)
    },

    deliveries: deliveriesOf,

    async restoreDelivery(root, fields) {
      const flat = Object.entries(fields).flat()
      await scripts.run('history-restore-delivery', root, [fields.job_id!, REDELIVERY_MS, ...flat])
    },

    deleted,

    async known(root, ids) {
      const [there, gone] = await Promise.all([
        Promise.all(ids.map((id) => redis.hexists(`${root}:job:${id}`, 'status'))),
        deleted(root, ids),
      ])
      return new Set(ids.filter((id, at) => there[at] === 1 || gone.has(id)))
    },

    async backlog(root) {
      const [count, first] = await Promise.all([
        redis.zcard(`${root}:history`),
        redis.zrange(`${root}:history`, '0', '0', 'WITHSCORES'),
      ])
      return { count, since: first[1] === undefined ? null : Number(first[1]) }
    },

    async doneBlock(root) {
      return toDoneBlock(await redis.hget(`${root}:history:blocks`, 'done'), deps.now())
    },

    async restore(root, { id, record, attempts, deliveries, eventCount, lastEvent, costNano }, hotMs) {
      const fields = Object.entries(attempts)
      const answer = (await scripts.run('history-restore', root, [
        ...[id, hotMs, costNano, Math.min(MOST_EVENTS, Math.max(1, eventCount)), lastEvent, deliveries],
        fields.length,
        ...fields.flat(),
        ...[...record].flat(),
      ])) as Buffer
      return answer.toString() === 'restored'
    },
  }
}

/** The job no longer waits for the history, and nothing of it is marked as copied. */
export function toUnmarked(id: string): CopiedJob {
  return { id, finishedAt: '-', hotMs: 0, costNano: 0, unpricedCalls: 0 }
}

/** Of the names that start with `start`, the rest. */
function restOf(start: string, names: readonly string[]): string[] {
  return names.flatMap((name) => (name.startsWith(start) ? [name.slice(start.length)] : []))
}

/** A job in the answer of history-read.lua. */
type ReadJob = [
  ...[record: Buffer, attempts: Buffer, deliveries: Buffer, calls: number, unpricedCalls: number],
  ...[eventCount: number, copied: Buffer, body: Buffer | null, place: Buffer, result: Buffer | null],
]

/** If the result has to be read separately, its value is null. */
function toEndedJob(
  id: string,
  found: ReadJob,
): Omit<EndedJob, 'result'> & { result: { key: string; value: Buffer | null } | null } {
  const [record, attempts, deliveries, calls, unpricedCalls, eventCount, copied, body, place, value] = found
  const texts = {
    record: record.toString(),
    attempts: attempts.toString(),
    deliveries: deliveries.toString(),
  }
  const key = place.toString()
  return {
    ...{ id, record: JSON.parse(texts.record), texts, calls, unpricedCalls, eventCount },
    ...{ copied: copied.toString(), body, result: key === '' ? null : { key, value } },
  }
}
