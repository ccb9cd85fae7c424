import { toCreate } from '../jobs/export-failed.ts'
import type { FailedFilter, FailedRequest, Redriven } from '../jobs/failed.ts'
import type { HistorySource } from '../jobs/history-source.ts'
import { JobStatus } from '../jobs/job.ts'
import type { Jobs } from '../jobs/jobs.ts'
import { isoTime, toJob, type View } from '../jobs/record.ts'
import type { HistoryFilter, Place } from './filter.ts'
import type { Finder } from './find.ts'
import { costOf } from './finished-job.ts'
import type { StoredJob, StoredJobs } from './stored-jobs.ts'

/** How many failed jobs are read from the database at once. */
const BLOCK = 100

/**
 * Counts, lists and queues again the failed jobs of both Redis and the history. A job that only the history has is restored to Redis
 * before it is queued. Throws `HistoryUnavailableError` if the database is needed and away.
 */
export function createFailedOfBoth(deps: {
  jobs: Jobs
  source: HistorySource
  finder: Finder
  stored: StoredJobs
  view: (root: string) => View
  rootOf: (tenant: string) => string
  /** How long a restored job stays in Redis, ms. */
  hotMs: () => number
  /** Called before a write for the tenant. */
  touch: (tenant: string) => void
}): Pick<Jobs, 'retry' | 'redrive' | 'failures' | 'failed'> {
  const { jobs, source, finder, stored, view, rootOf } = deps

  /** Restores a failed or cancelled job to Redis, so that it can be queued again. The history shows it until then. */
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

  /** Yields the failed jobs that only the history has, the oldest first. */
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
    const contents = { bodies: true, results: true }
    const found = (await stored.records(rootOf(tenant), [id], contents)).get(id) ?? null
    if (found === null) return null
    if (!canRetry(found)) return { kind: 'not_retryable', job: toJob(id, found.record, view(rootOf(tenant))) }
    await restore(tenant, found)
    return jobs.retry(tenant, id)
  }

  return {
    retry,

    async redrive(tenant, filter, options): Promise<Redriven> {
      const { limit, isDryRun = false } = options
      let matched = 0
      let retried = 0
      // A restored job may fail again before the jobs in Redis are redriven; it must not count twice.
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
  }
}

/** Merges two lists that are sorted by creation, the oldest first. */
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
