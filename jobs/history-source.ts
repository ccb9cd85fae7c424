import type { RedisClient } from '../lib/redis.ts'
import type { AnswerStore } from './answer-store.ts'
import type { Scripts } from './scripts.ts'

/** An ended job as Redis holds it. What is encrypted stays encrypted. */
export type EndedJob = {
  id: string
  /** Without body, result, and what holds for the job in Redis only. */
  record: Record<string, string>
  /** As JSON: the record, fields of its attempts, and those of its deliveries, the oldest first. */
  texts: { record: string; attempts: string; deliveries: string }
  calls: number
  /** Those of them without a price. */
  unpricedCalls: number
  eventCount: number
  /** `<status> <billionths>` as the history has it already; '': it has not. */
  copied: string
  /** Null: not asked for, or it has none. */
  body: Buffer | null
  /** `key`: where the history keeps it; jobs that got the same answer name the same. */
  result: { key: string; value: Buffer } | null
}

/**
 * What was copied, for the mark: when the job had ended, how long it stays in Redis from then on, what it cost (billionths), and its
 * calls without a price.
 */
export type CopiedJob = {
  id: string
  finishedAt: string
  hotMs: number
  costNano: number
  unpricedCalls: number
}

/** A job that the history has, for Redis to have again. */
export type RestoredJob = {
  id: string
  record: ReadonlyMap<string, Buffer | string>
  attempts: Record<string, string>
  /** As JSON, the oldest first. */
  deliveries: string
  eventCount: number
  /** As JSON. */
  lastEvent: string
  costNano: number
}

/** Jobs that one script reads, and bytes of bodies and results after which it stops, so that it never holds Redis for long. */
const SCRIPT_JOBS = 50
const SCRIPT_BYTES = 1024 * 1024
/** The same for one block. */
const BLOCK_BYTES = 8 * 1024 * 1024

/** A key that the script's answer may take; restoring more than so many events would hold Redis for long. */
const MOST_EVENTS = 20_000

/**
 * The newest block that is done, as Redis has it. Where it knows of none, because it was emptied, all older ones are: their numbers
 * are times, and none that begins from now on has a number below.
 */
export function toDoneBlock(stored: string | null | undefined, now: number): number {
  return stored == null ? now - CLOCK_ERROR_MS : Number(stored)
}

/** How far a process's view of Redis' time may be off at the most. */
const CLOCK_ERROR_MS = 1000

/** Stands before the id of a job that the history has to forget. */
const DELETE = 'delete:'

/** Stands before the id of a delivery that was sent again and is to be copied to its job in the history. */
const DELIVERY = 'delivery:'

/** A delivery that is sent again is kept in Redis for this long, ms. */
const REDELIVERY_MS = 2 * 86_400_000

/** Until then the process that noted a deletion is about to do it itself, ms. */
const DELETE_AFTER_MS = 1000

/** What is due for the history: ended jobs and deliveries that are to be copied, and deleted jobs. */
export type DueForHistory = { block: number; ids: string[]; deliveries: string[]; deleted: string[] }

/** What the history had of a job that it has forgotten, which Redis forgets too. */
export type RemovedJob = { idempotencyKey: string | null; deliveries: string[] }

/** The side of Redis of what moves to the history and back. `root` is the tenant's. */
export type HistorySource = {
  /** What is due next, and the number of the block that it is; null: nothing is. */
  due(root: string, most: number): Promise<DueForHistory | null>
  /**
   * Of the first of these ids, those that are still ended. `looked`: how many ids that are, for at some megabytes it stops.
   *
   * @param keepsContent with bodies and results
   */
  read(
    root: string,
    ids: readonly string[],
    keepsContent: boolean,
  ): Promise<{ looked: number; jobs: EndedJob[] }>
  /**
   * The history has these jobs and deliveries, and the block is done: to be called once for a block. Those with files stay for `lifeMs`
   * after their end.
   */
  mark(
    root: string,
    block: number,
    lifeMs: number,
    copied: readonly CopiedJob[],
    deliveries: readonly string[],
  ): Promise<void>
  /** Leaves these alone for a while. */
  postpone(root: string, due: Partial<Omit<DueForHistory, 'block'>>, until: number): Promise<void>
  /** The history has to forget this job, even if this process dies. */
  noteDeletion(root: string, id: string, now: number): Promise<void>
  /** The history has forgotten it, and had this of it. */
  endDeletion(root: string, id: string, removed: RemovedJob | null): Promise<void>
  /** Fields of deliveries, of those that Redis has. */
  deliveries(root: string, ids: readonly string[]): Promise<Record<string, string>[]>
  /** Redis has the delivery of a moved job again, for some days. What it has of it already is kept. */
  restoreDelivery(root: string, fields: Record<string, string>): Promise<void>
  /** Of these ids, those that Redis has, and those that the history has to forget. */
  known(root: string, ids: readonly string[]): Promise<Set<string>>
  /** Of these ids, those that the history has to forget and may still have. */
  deleted(root: string, ids: readonly string[]): Promise<Set<string>>
  /** How many wait, and when the first of them had ended (Unix ms). */
  backlog(root: string): Promise<{ count: number; since: number | null }>
  /** The newest block that is marked as copied. */
  doneBlock(root: string): Promise<number>
  /** False: it is there already, or deleted. */
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
        // It is gone, for its job was deleted just now.
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
        deliveries: behind(DELIVERY, names),
        deleted: behind(DELETE, names),
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
      // The key makes a new job from now on.
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
      const key = `${root}:delivery:${fields.id}`
      const known = redis.multi()
      for (const [name, value] of Object.entries(fields)) known.hsetnx(key, name, value)
      await known.pexpire(key, REDELIVERY_MS).exec()
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

/** Says that nothing of it is to be marked, and that it waits no more. */
export function toUnmarked(id: string): CopiedJob {
  return { id, finishedAt: '-', hotMs: 0, costNano: 0, unpricedCalls: 0 }
}

/** What stands behind this in those names that begin with it. */
function behind(start: string, names: readonly string[]): string[] {
  return names.flatMap((name) => (name.startsWith(start) ? [name.slice(start.length)] : []))
}

/** As history-read.lua answers it. */
type ReadJob = [
  ...[record: Buffer, attempts: Buffer, deliveries: Buffer, calls: number, unpricedCalls: number],
  ...[eventCount: number, copied: Buffer, body: Buffer | null, place: Buffer, result: Buffer | null],
]

/** The value of its result is null where it is to be read for itself. */
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
