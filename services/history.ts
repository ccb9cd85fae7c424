import { performance } from 'node:perf_hooks'
import type { Logger } from 'pino'
import { resolveLane } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import type { LiveConfig } from '../config/watch.ts'
import type { PriceUsage } from '../history/contribution.ts'
import { createCopyState } from '../history/copy-state.ts'
import { type Database, nameDatabase, openDatabase } from '../history/database.ts'
import { isHistoryUnavailable } from '../history/errors.ts'
import { createFinder } from '../history/find.ts'
import { readMovedDeliveries } from '../history/moved-deliveries.ts'
import { createMovedEvents } from '../history/moved-events.ts'
import { createMover } from '../history/mover.ts'
import { type HistoryStateReader, toHistoryState } from '../history/state.ts'
import { createHistoryStore } from '../history/store.ts'
import { createStoredJobs } from '../history/stored-jobs.ts'
import { readUsage, TooManySumsError, type UsageReader } from '../history/usage.ts'
import { guardStore, keepLooking, watchDatabase } from '../history/watch.ts'
import { withHistory } from '../history/with-history.ts'
import type { ActiveTenants } from '../jobs/active-tenants.ts'
import { createAnswerStore } from '../jobs/answer-store.ts'
import type { AtRest } from '../jobs/at-rest.ts'
import { EVENT_RESULT_BYTES } from '../jobs/event-source.ts'
import { createHistorySource } from '../jobs/history-source.ts'
import type { Job } from '../jobs/job.ts'
import type { Jobs } from '../jobs/jobs.ts'
import { tenantRoot } from '../jobs/keys.ts'
import type { View } from '../jobs/record.ts'
import type { Scripts } from '../jobs/scripts.ts'
import type { HistorySide } from '../jobs/service.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'
import { priceInNano } from '../lib/price.ts'
import type { RedisClient } from '../lib/redis.ts'
import type { OnUpkeepFailure } from '../lib/visit-all.ts'
import { renderResult } from '../providers/vectors.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { readDelivery } from '../webhooks/read-delivery.ts'
import type { Closers } from './closers.ts'

/** Interval of checks for ended jobs, and for entries that the history must delete, ms. */
const MOVE_MS = 250
const EXPIRE_MS = 1000

/** While the database accepts nothing, it is tried again after this, ms. */
const AWAY_MS = 1000

/** Redrives are checked every second, and the turn of their tenant comes after that. */
const REDRIVE_GRACE_MS = 60_000

const DAY_CHARACTERS = 'YYYY-MM-DD'.length

/** A continuing fault is logged again after `first`, then after twice as long each time up to `most`, ms. */
const AGAIN_MS = { first: 60_000, most: 30 * 60_000 }

type AttachDeps = {
  redis: RedisClient
  scripts: Scripts
  prefix: string
  atRest: AtRest
  active: Pick<ActiveTenants, 'touch'>
  now: () => number
  config: () => Config
}

export type AttachedHistory = HistorySide & {
  state: HistoryStateReader
  /** Fields of deliveries that moved with their jobs; see `readMovedDeliveries`. */
  findMovedDeliveries(
    tenant: string,
    ids: readonly string[],
  ): Promise<Map<string, Record<string, string> | null>>
  /** Sums of the usage of ended jobs. */
  usage: UsageReader
  /** Wraps the jobs of Redis so that jobs in the history are found as well. */
  inFrontOf(hot: Jobs): Jobs
  /** The maintainer's tasks for it. */
  createTasks(
    store: { maintenance: { watch: { take(kind: 'history'): string[] } } },
    onFailure: OnUpkeepFailure,
  ): PeriodicTask[]
}

/** The database of finished jobs, to be combined with the jobs in Redis. */
export type History = { attach(deps: AttachDeps): AttachedHistory }

/** Opens the configured database; null: none is configured. An unavailable one does not delay the start. */
export function openHistory(
  { config, log, metrics }: { config: LiveConfig; log: Logger; metrics: Metrics },
  closers: Closers,
): History | null {
  const settings = config.current().history
  if (settings === undefined || settings === 'off') return null
  const name = nameDatabase(settings.url)
  const database = openDatabase(settings.url, (error) => log.debug({ err: error }, 'history connection'))
  closers.add('the history', () => database.close())
  const { onDown, onUp } = createOutageLog(log, name)
  const watch = watchDatabase({
    database,
    onMigrated({ run, newest, known }) {
      if (run.length > 0) log.info({ history: name, migrations: run }, 'the history has its tables')
      if (newest > known)
        log.warn({ history: name, newest, known }, 'the history has tables of a later release')
    },
    ...{ onDown, onUp },
  })
  const stopLooking = keepLooking(watch)
  closers.add('looks at the history', async () => stopLooking())
  metrics.history.watch(() => watch.state().isUp)
  return {
    attach: (deps) => attach({ ...deps, database, watch, settings, onMoved: metrics.history.onMoved }),
  }
}

/** Logs once that the history is unavailable, then at growing intervals, even if it is available in between. */
function createOutageLog(log: Logger, name: string) {
  let next = { at: Number.NEGATIVE_INFINITY, pauseMs: AGAIN_MS.first }
  let isSaid = false
  let upSince = Number.NEGATIVE_INFINITY
  return {
    onDown(error: unknown): void {
      const time = performance.now()
      const isNew = !isSaid && time - upSince > AGAIN_MS.first
      if (time < next.at && !isNew) return
      const pauseMs = isNew ? AGAIN_MS.first : Math.min(AGAIN_MS.most, next.pauseMs * 2)
      next = { at: time + pauseMs, pauseMs }
      isSaid = true
      log.warn(
        { err: error, history: name },
        'the history is not available; finished jobs stay in Redis until it is back',
      )
    },
    onUp(): void {
      upSince = performance.now()
      if (!isSaid) return
      isSaid = false
      log.info({ history: name }, 'the history is available again')
    },
  }
}

type Watched = ReturnType<typeof watchDatabase>

function attach(
  deps: AttachDeps & {
    database: Database
    watch: Watched
    settings: { keep: number; content: 'full' | 'none' }
    onMoved: (jobs: number) => void
  },
): AttachedHistory {
  const { redis, scripts, prefix, atRest, active, now, config, database, watch, settings } = deps
  const source = createHistorySource({ redis, scripts, answers: createAnswerStore({ redis }), now })
  const store = guardStore(createHistoryStore(database), watch)
  const finder = createFinder(database)
  const view = (root: string): View => ({ root, atRest, render: renderResult })
  const stored = createStoredJobs({ finder, source, view, watch })
  const copyState = createCopyState({ redis, prefix, now, elapsed: () => performance.now() })

  const toFailure = (down: ReturnType<Watched['state']>['reads']) =>
    down && { since: now() - (performance.now() - down.since), error: (down.error as Error).message }

  function hotMs(status: string): number {
    const { jobs, redrive } = config()
    if (status !== 'failed' || redrive.length === 0) return jobs.hot
    return Math.max(jobs.hot, ...redrive.map(({ after }) => after + REDRIVE_GRACE_MS))
  }

  const priceUsage: PriceUsage = (lane, tier, usage) => {
    const price = resolveLane(config(), lane)?.price
    if (!price) return null
    return priceInNano(
      price,
      { ...usage, input_tokens: usage.input_tokens ?? 0, output_tokens: usage.output_tokens ?? 0 },
      tier,
    )
  }

  const find = async (root: string, id: string): Promise<Job | null> =>
    (await stored.jobs(root, [id])).get(id) ?? null

  let hotJobs: Pick<Jobs, 'remove'> | null = null

  return {
    find,
    findMovedDeliveries: (tenant, ids) =>
      readMovedDeliveries({ finder, stored }, tenantRoot(prefix, tenant), ids),
    movedEvents: createMovedEvents({ stored, source, view, mostBytes: EVENT_RESULT_BYTES }),
    state: {
      async read() {
        const { reads, writes } = watch.state()
        // If Redis does not answer, that is not a failure of the history.
        const copying = await copyState.read().catch(() => null)
        return toHistoryState({ reads: toFailure(reads), writes: toFailure(writes) }, copying)
      },
      async waiting(tenants) {
        const backlogs = await Promise.all(tenants.map((name) => source.backlog(tenantRoot(prefix, name))))
        const starts = backlogs.flatMap(({ since }) => since ?? [])
        return {
          jobs: backlogs.reduce((sum, { count }) => sum + count, 0),
          since: starts.length === 0 ? null : Math.min(...starts),
        }
      },
    },
    onAgain(root, id, endedAt) {
      // Until this is done, Redis is asked for the job anyway.
      stored.ask(() => store.reopen(root, id, endedAt, now())).catch(() => {})
    },
    usage: {
      now,
      async read(ask) {
        const openFairKey = (root: string, label: string) => {
          // After the id of the job that it was stored with.
          const end = label.indexOf('\n')
          return atRest.openFairKey(root, label.slice(0, end), label.slice(end + 1))
        }
        // Too many sums are also an answer: the database is available.
        const answer = await stored.ask(() =>
          readUsage(database, { ...ask, prefix }, openFairKey).catch((error: unknown) => {
            if (error instanceof TooManySumsError) return error
            throw error
          }),
        )
        if (answer instanceof TooManySumsError) throw answer
        return answer
      },
    },
    inFrontOf(hot) {
      hotJobs = hot
      return withHistory({
        ...{ jobs: hot, redis, source, store, finder, stored, view, prefix, now },
        hotMs: () => hotMs('failed'),
        showDelivery: readDelivery as (fields: Record<string, string>) => never,
        touch: active.touch,
      })
    },
    createTasks(maintained, onFailure) {
      const mover = createMover({
        ...{ source, store, prefix, atRest, priceUsage, now, onFailure },
        tenants: () => maintained.maintenance.watch.take('history'),
        removeHot: async (tenant, id) => hotJobs?.remove(tenant, id),
        settings: () => ({
          hotMs,
          lifeMs: Math.min(config().jobs.retain, settings.keep),
          keepsContent: settings.content === 'full',
        }),
        isUnavailable: isHistoryUnavailable,
        onMoved: deps.onMoved,
      })
      let restsUntil = 0
      /** The monitor logs an unavailable database once. */
      const unlessAway = async (work: () => Promise<unknown>) => {
        if (performance.now() < restsUntil) return
        try {
          await work()
          if (watch.state().isUp) await copyState.works()
        } catch (error) {
          if (!isHistoryUnavailable(error)) throw error
          restsUntil = performance.now() + AWAY_MS
          await copyState.fails(error)
        }
      }
      return [
        { name: 'history', everyMs: MOVE_MS, run: (signal) => unlessAway(() => mover.run(signal)) },
        {
          name: 'history-expiry',
          everyMs: EXPIRE_MS,
          run: (signal) =>
            unlessAway(async () => {
              const firstDay = new Date(now() - settings.keep).toISOString().slice(0, DAY_CHARACTERS)
              while (!signal.aborted && (await store.expire(now(), firstDay)) > 0);
            }),
        },
      ]
    },
  }
}
