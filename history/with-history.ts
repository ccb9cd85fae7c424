import { attemptsOf } from '../jobs/attempts.ts'
import type { HistorySource } from '../jobs/history-source.ts'
import type { Delivery, Job, JobEvent, JobEventType, JobStatus } from '../jobs/job.ts'
import type { JobOutcome, Jobs } from '../jobs/jobs.ts'
import { tenantRoot } from '../jobs/keys.ts'
import { bodyOf, isoTime, textOf, toJob, type View } from '../jobs/record.ts'
import type { RedisClient } from '../lib/redis.ts'
import { isHistoryUnavailable } from './errors.ts'
import { createFailedOfBoth } from './failed-of-both.ts'
import type { Finder } from './find.ts'
import { createGroupsOfBoth } from './groups.ts'
import { listBoth } from './merge-lists.ts'
import { readMovedDeliveries } from './moved-deliveries.ts'
import type { HistoryStore } from './store.ts'
import type { StoredJob, StoredJobs } from './stored-jobs.ts'

export type WithHistoryDeps = {
  jobs: Jobs
  redis: RedisClient
  source: HistorySource
  store: HistoryStore
  finder: Finder
  stored: StoredJobs
  view: (root: string) => View
  prefix: string
  /** How long a restored job stays in Redis, ms. */
  hotMs: () => number
  showDelivery: (fields: Record<string, string>) => Delivery
  /** Called before a write for the tenant. */
  touch: (tenant: string) => void
  /** Unix ms, by Redis' clock. */
  now: () => number
}

/**
 * One reader for jobs in Redis and in the history. It asks Redis first, so jobs that are open or ended recently cost no more than
 * without a history. Methods that need the history throw `HistoryUnavailableError` while the database is away.
 */
export function withHistory(deps: WithHistoryDeps): Jobs {
  const { jobs, redis, source, store, finder, stored, view } = deps
  const rootOf = (tenant: string) => tenantRoot(deps.prefix, tenant)
  const groups = createGroupsOfBoth({ jobs, redis, source, finder, stored, rootOf, now: deps.now })
  const { hotMs, touch } = deps
  const failedJobs = createFailedOfBoth({ jobs, source, finder, stored, view, rootOf, hotMs, touch })

  async function find(root: string, id: string): Promise<Job | null> {
    return (await stored.jobs(root, [id])).get(id) ?? null
  }

  async function findRow(tenant: string, id: string, contents = {}): Promise<StoredJob | null> {
    return (await stored.records(rootOf(tenant), [id], contents)).get(id) ?? null
  }

  /** Replaces the nulls among Redis' answers by those of the history. */
  async function fillIn<T>(
    ids: readonly string[],
    answers: (T | null)[],
    read: (missing: string[]) => Promise<Map<string, T>>,
  ): Promise<(T | null)[]> {
    const missing = ids.filter((_id, at) => answers[at] === null)
    if (missing.length === 0) return answers
    const found = await read(missing)
    return ids.map((id, at) => answers[at] ?? found.get(id) ?? null)
  }

  return {
    ...jobs,
    ...groups,
    ...failedJobs,

    async get(tenant, id) {
      return (await jobs.get(tenant, id)) ?? find(rootOf(tenant), id)
    },

    async wait(tenant, id, timeoutMs, signal) {
      return (await jobs.wait(tenant, id, timeoutMs, signal)) ?? find(rootOf(tenant), id)
    },

    async getMany(tenant, ids) {
      return fillIn(ids, await jobs.getMany(tenant, ids), (missing) => stored.jobs(rootOf(tenant), missing))
    },

    async outcomes(tenant, ids) {
      return fillIn<JobOutcome>(ids, await jobs.outcomes(tenant, ids), async (missing) => {
        const found = await stored.jobs(rootOf(tenant), missing)
        return new Map(
          [...found].map(([id, job]) => [
            id,
            { id, status: job.status, result: job.result, error: job.error },
          ]),
        )
      })
    },

    async statuses(tenant, ids) {
      return fillIn(ids, await jobs.statuses(tenant, ids), async (missing) => {
        const found = await stored.records(rootOf(tenant), missing, {})
        return new Map([...found].map(([id, { row }]) => [id, row.status as JobStatus]))
      })
    },

    async getRequest(tenant, id) {
      const hot = await jobs.getRequest(tenant, id)
      if (hot !== null) return hot
      const found = await findRow(tenant, id, { bodies: true, results: true })
      if (found === null || !found.record.has('body')) return null
      const { record } = found
      const root = rootOf(tenant)
      return {
        job: toJob(id, record, view(root)),
        body: bodyOf(id, record, view(root)),
        previousResponseId: textOf(record, 'previous_response_id'),
        cursor: textOf(record, 'run_from') ?? '',
      }
    },

    list: (tenant, filter, limit, options = {}) =>
      listBoth(
        {
          ...{ finder, stored },
          list: (asked, most, how) => jobs.list(tenant, asked, most, how),
          async createdAt(id) {
            const text = await redis.hget(`${rootOf(tenant)}:job:${id}`, 'created_at')
            return text === null ? null : Number(text)
          },
        },
        rootOf(tenant),
        filter,
        limit,
        options,
      ),

    async attempts(tenant, id) {
      const hot = await jobs.attempts(tenant, id)
      if (hot !== null) return hot
      const found = await findRow(tenant, id)
      return found && attemptsOf(JSON.parse(found.row.attempts), textOf(found.record, 'usage') ?? '')
    },

    async cancel(tenant, id) {
      const outcome = await jobs.cancel(tenant, id)
      if (outcome !== null) return outcome
      const job = await find(rootOf(tenant), id)
      return job && { kind: 'terminal', job }
    },

    async remove(tenant, id) {
      const root = rootOf(tenant)
      deps.touch(tenant)
      await source.noteDeletion(root, id, deps.now())
      const wasHot = await jobs.remove(tenant, id)
      try {
        const removed = await stored.ask(() => store.remove(root, id, deps.now(), wasHot))
        await source.endDeletion(root, id, removed)
        return wasHot || removed !== null
      } catch (error) {
        // The maintainer deletes it from the history when the database is back.
        if (wasHot && isHistoryUnavailable(error)) return true
        throw error
      }
    },

    async follow(tenant, id, cursor, signal) {
      const following = await jobs.follow(tenant, id, cursor, signal)
      if (following !== null) return following
      const found = (await stored.records(rootOf(tenant), [id], { results: true })).get(id)
      if (found === undefined) return null
      const { row, record } = found
      const seq = Math.max(1, row.event_count)
      const isOver = (Number.parseInt(cursor, 10) || 0) >= seq
      return {
        finished: isOver,
        events: isOver ? none() : one(id, seq, toJob(id, record, view(rootOf(tenant))), row.finished_at),
      }
    },

    async deliveries(tenant, id) {
      const hot = await jobs.deliveries(tenant, id)
      if (hot !== null) return hot
      const found = await findRow(tenant, id)
      if (found === null) return null
      const deliveries = JSON.parse(found.row.deliveries) as Record<string, string>[]
      // A delivery that is being sent again is in Redis too, with newer fields.
      const again = await source.deliveries(
        rootOf(tenant),
        deliveries.map((fields) => fields.id!),
      )
      const newer = new Map(again.map((fields) => [fields.id, fields]))
      return deliveries.map((fields) => deps.showDelivery(newer.get(fields.id) ?? fields)).reverse()
    },

    async redeliver(tenant, deliveryId) {
      const root = rootOf(tenant)
      const [known] = await source.deliveries(root, [deliveryId])
      // Redis has the delivery either with its job, or for some days after it was sent again. In the second case those days start again.
      const fields =
        known === undefined
          ? (await readMovedDeliveries(deps, root, [deliveryId])).get(deliveryId)
          : known.job_id?.startsWith('job_')
            ? known
            : null
      if (fields) await source.restoreDelivery(root, fields)
      return jobs.redeliver(tenant, deliveryId)
    },
  }
}

/** Yields the last event of a job, the only one that the history can make. */
async function* one(id: string, seq: number, job: Job, at: number): AsyncGenerator<JobEvent> {
  const event = `job.${job.status}` as JobEventType
  yield { cursor: String(seq), event, data: { job_id: id, seq, at: isoTime(at), job } }
}

async function* none(): AsyncGenerator<JobEvent> {}
