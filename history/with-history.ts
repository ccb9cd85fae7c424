import { attemptsOf } from '../jobs/attempts.ts'
import { toCreate } from '../jobs/export-failed.ts'
import type { FailedFilter, FailedRequest, Redriven } from '../jobs/failed.ts'
import type { HistorySource } from '../jobs/history-source.ts'
import { type Delivery, type Job, type JobEvent, type JobEventType, JobStatus } from '../jobs/job.ts'
import type { JobOutcome, Jobs } from '../jobs/jobs.ts'
import { tenantRoot } from '../jobs/keys.ts'
import { bodyOf, isoTime, textOf, toJob, type View } from '../jobs/record.ts'
import type { RedisClient } from '../lib/redis.ts'
import { isHistoryUnavailable } from './errors.ts'
import type { HistoryFilter, Place } from './filter.ts'
import type { Finder } from './find.ts'
import { costOf } from './finished-job.ts'
import { createGroupsOfBoth } from './groups.ts'
import { listBoth } from './merge-lists.ts'
import { readMovedDeliveries } from './moved-deliveries.ts'
import type { HistoryStore } from './store.ts'
import type { StoredJob, StoredJobs } from './stored-jobs.ts'

/** Failed jobs read from the database at once. */
const BLOCK = 100

export type WithHistoryDeps = {
  jobs: Jobs
  redis: RedisClient
  source: HistorySource
  store: HistoryStore
  finder: Finder
  stored: StoredJobs
  view: (root: string) => View
  prefix: string
  /** How long a job that is brought back stays in Redis, ms. */
  hotMs: () => number
  showDelivery: (fields: Record<string, string>) => Delivery
  /** Something is written for the tenant. */
  touch: (tenant: string) => void
  /** Unix ms, by Redis' clock. */
  now: () => number
}

/**
 * Jobs, whether Redis has them or the history: one reader in front of both. Redis is asked first, so that what is open or hot costs no
 * more than without a history. What only the history knows throws `HistoryUnavailableError` while the database is away.
 */
export function withHistory(deps: WithHistoryDeps): Jobs {
  const { jobs, redis, source, store, finder, stored, view } = deps
  const rootOf = (tenant: string) => tenantRoot(deps.prefix, tenant)
  const groups = createGroupsOfBoth({ jobs, redis, source, finder, stored, rootOf, now: deps.now })

  async function find(root: string, id: string): Promise<Job | null> {
    return (await stored.jobs(root, [id])).get(id) ?? null
  }

  async function findRow(tenant: string, id: string, contents = {}): Promise<StoredJob | null> {
    return (await stored.records(rootOf(tenant), [id], contents)).get(id) ?? null
  }

  /** Fills in what Redis does not have. */
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

  /** Brings a failed or cancelled job back to Redis, so that it can be queued again. The history goes on showing it until it is. */
  async function restore(tenant: string, { row, record }: StoredJob): Promise<void> {
    const root = rootOf(tenant)
    const { id, event_count: eventCount, status } = row
    const lastEvent = JSON.stringify({
      event: `job.${status}`,
      at: row.finished_at,
      ...(record.has('error') ? { error: JSON.parse(record.get('error')!.toString()) } : {}),
    })
    const costNano = costOf(
      Object.fromEntries(
        [...record].flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
      ),
    )
    deps.touch(tenant)
    await source.restore(
      root,
      {
        ...{ id, record, attempts: JSON.parse(row.attempts), deliveries: row.deliveries, eventCount },
        ...{ lastEvent, costNano },
      },
      deps.hotMs(),
    )
  }

  const canRetry = ({ row, record }: StoredJob) =>
    (row.status === JobStatus.failed || row.status === JobStatus.cancelled) && record.has('body')

  /** Failed jobs that the history alone has, the oldest first. */
  async function* failedHere(
    tenant: string,
    filter: FailedFilter,
    contents: { bodies: boolean },
    signal?: AbortSignal,
  ): AsyncGenerator<StoredJob> {
    const root = rootOf(tenant)
    const asked: HistoryFilter = { ...filter, status: JobStatus.failed }
    if (filter.failedAfter !== undefined) asked.finishedAfter = filter.failedAfter
    if (filter.failedBefore !== undefined) asked.finishedBefore = filter.failedBefore
    let after: Place | null = null
    while (!signal?.aborted) {
      const page: Awaited<ReturnType<Finder['page']>> = await stored.ask(() =>
        finder.page(root, asked, 'asc', after, BLOCK),
      )
      const ids = page.places.map(({ id }) => id)
      const only = await stored.onlyHere(root, ids)
      const found = await stored.records(
        root,
        ids.filter((id) => only.has(id)),
        contents,
      )
      for (const id of ids) {
        const one = found.get(id)
        if (one) yield one
      }
      const last: Place | undefined = page.end ?? page.places.at(-1)
      if (last === undefined || (page.end === null && page.places.length < BLOCK)) return
      after = last
    }
  }

  async function retry(tenant: string, id: string): ReturnType<Jobs['retry']> {
    const outcome = await jobs.retry(tenant, id)
    if (outcome !== null) return outcome
    const found = await findRow(tenant, id, { bodies: true, results: true })
    if (found === null) return null
    if (!canRetry(found)) return { kind: 'not_retryable', job: toJob(id, found.record, view(rootOf(tenant))) }
    await restore(tenant, found)
    return jobs.retry(tenant, id)
  }

  return {
    ...jobs,
    ...groups,

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

    retry,

    async redrive(tenant, filter, options): Promise<Redriven> {
      const { limit, isDryRun = false } = options
      let matched = 0
      let retried = 0
      // Such a job may fail again before the jobs of Redis are looked at.
      const except = new Set<string>()
      for await (const found of failedHere(tenant, filter, { bodies: !isDryRun })) {
        if (matched === limit) break
        matched++
        except.add(found.row.id)
        if (isDryRun || !canRetry(found)) continue
        await restore(tenant, found)
        if ((await jobs.retry(tenant, found.row.id))?.kind === 'retried') retried++
      }
      if (matched === limit) return { matched, retried }
      const hot = await jobs.redrive(tenant, filter, { ...options, limit: limit - matched, except })
      return { ...hot, matched: matched + hot.matched, retried: retried + hot.retried }
    },

    async failures(tenant) {
      const root = rootOf(tenant)
      const block = await source.doneBlock(root)
      const [hot, cold] = await Promise.all([
        jobs.failures(tenant),
        stored.ask(() => finder.failures(root, block)),
      ])
      const classes = new Map(hot.classes.map((one) => [`${one.lane}\n${one.code}`, { ...one }]))
      for (const { lane, code, count, first, last, isRetryable } of cold) {
        const known = classes.get(`${lane}\n${code}`)
        const [firstAt, lastAt] = [isoTime(first), isoTime(last)]
        if (!known) {
          const fresh = { lane, code, count, first_at: firstAt, last_at: lastAt, retryable: isRetryable }
          classes.set(`${lane}\n${code}`, fresh)
          continue
        }
        known.count += count
        if (firstAt < known.first_at) known.first_at = firstAt
        if (lastAt > known.last_at) Object.assign(known, { last_at: lastAt, retryable: isRetryable })
      }
      const sorted = [...classes.values()].sort(
        (a, b) => b.count - a.count || (a.last_at < b.last_at ? 1 : -1),
      )
      return { ...hot, classes: sorted, total: sorted.reduce((sum, { count }) => sum + count, 0) }
    },

    async *failed(tenant, filter, limit, signal): AsyncGenerator<FailedRequest> {
      const root = rootOf(tenant)
      const { atRest } = view(root)
      async function* cold(): AsyncGenerator<FailedRequest> {
        for await (const { row, record } of failedHere(tenant, filter, { bodies: true }, signal)) {
          const create = record.has('body') ? toCreate({ atRest }, root, row.id, record) : null
          yield { job: toJob(row.id, record, view(root)), create }
        }
      }
      let left = limit
      for await (const one of inOrder(cold(), jobs.failed(tenant, filter, limit, signal))) {
        yield one
        if (--left === 0) return
      }
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
        // The maintainer goes on with it when the database is back.
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
      // One that is sent again is in Redis, too.
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
      // Redis has it with its job, or for the days after it was sent again, which begin anew.
      const fields =
        known === undefined
          ? (await readMovedDeliveries(deps, root, [deliveryId])).get(deliveryId)
          : known.job_id?.startsWith('job_') && (await redis.exists(`${root}:job:${known.job_id}`)) === 0
            ? known
            : null
      if (fields) await source.restoreDelivery(root, fields)
      return jobs.redeliver(tenant, deliveryId)
    },
  }
}

/** The last event of a job, which is all that the history has of them. */
async function* one(id: string, seq: number, job: Job, at: number): AsyncGenerator<JobEvent> {
  const event = `job.${job.status}` as JobEventType
  yield { cursor: String(seq), event, data: { job_id: id, seq, at: isoTime(at), job } }
}

async function* none(): AsyncGenerator<JobEvent> {}

/** Both in one order: by creation, the oldest first. */
async function* inOrder(
  a: AsyncGenerator<FailedRequest>,
  b: AsyncIterable<FailedRequest>,
): AsyncGenerator<FailedRequest> {
  const second = b[Symbol.asyncIterator]()
  let [left, right] = [await a.next(), await second.next()]
  while (!left.done || !right.done) {
    const takesLeft = !left.done && (right.done || left.value.job.created_at <= right.value.job.created_at)
    if (takesLeft) {
      yield left.value as FailedRequest
      left = await a.next()
    } else {
      yield right.value as FailedRequest
      right = await second.next()
    }
  }
}
