import { setTimeout as sleep } from 'node:timers/promises'
import { type Batch, isOver } from '../../batches/batch.ts'
import type { Batches } from '../../batches/store.ts'
import type { Config } from '../../config/schema.ts'
import { tenantNames } from '../../config/tenants.ts'
import { findUnpriced, findUnpricedUnnamed, type UnpricedLane } from '../../config/unpriced.ts'
import { isHistoryUnavailable } from '../../history/errors.ts'
import type { HistoryState, HistoryStateReader } from '../../history/state.ts'
import type { FailedGroup } from '../../jobs/failed.ts'
import type { Jobs } from '../../jobs/jobs.ts'
import type { TenantStatsReader } from '../../jobs/tenant-stats.ts'
import type { LaneControl, LaneView } from '../lanes/lanes.ts'
import { createPaces } from './paces.ts'
import { describeTenants, type TenantView } from './tenants.ts'

/** Number of groups and of batches shown. */
const SHOWN = 20
/** Number of tenants shown: those with the most open jobs, then the busiest. */
const SHOWN_TENANTS = 200
/** Interval for data that changes slowly or is expensive to read, ms. Reading takes at most a tenth of the time. */
const SLOW_MS = 5_000
const SLOW_REST_FACTOR = 10
/** If the slow part is older than this, because nobody watched for long, a snapshot waits for it, but not for long; ms. */
const STALE_MS = 3 * SLOW_MS
const FIRST_SLOW_MS = 1_000
type GroupView = {
  tenant: string
  group: string
  total: number
  counts: TenantView['counts']
  cost_usd: number | null
  unpriced_calls: number
  estimated_finish_at: string | null
  updated_at: string
}
type BatchView = {
  tenant: string
  id: string
  status: Batch['status']
  created_at: string
  request_counts: { total: number; completed: number; failed: number }
  estimated_finish_at: string | null
}

type HistoryView = {
  status: 'available' | 'unavailable'
  fails: HistoryState['fails']
  error: string | null
  unavailable_since: string | null
  waiting_jobs: number
  waiting_since: string | null
}

/** What operators see at a glance. Times are RFC 3339. */
export type Overview = {
  object: 'overview'
  at: string
  lanes: LaneView[]
  tenants: TenantView[]
  /** Number of configured tenants, shown or not. */
  tenant_count: number
  /** The elected maintainer; null: none at the moment. */
  maintainer: { worker: string; since: string } | null
  /** The database of finished jobs, and the jobs that wait for it; null: there is none. */
  history: HistoryView | null
  groups: GroupView[]
  batches: BatchView[]
  failures: ({ tenant: string } & Pick<FailedGroup, 'lane' | 'code' | 'count' | 'last_at' | 'retryable'>)[]
  /** Configured lanes without a known price. */
  unpriced: UnpricedLane[]
}

export type SnapshotDeps = {
  config: () => Config
  lanes: Pick<LaneControl, 'list'>
  tenantStats: TenantStatsReader
  jobs: Pick<Jobs, 'group' | 'failures'>
  batches: Pick<Batches, 'recent' | 'get'>
  /** Null: there is no history. */
  historyState: HistoryStateReader | null
  /** The maintainer, and since when, Unix ms. */
  readMaintainer: () => Promise<{ worker: string; since: number } | null>
  onError: (error: unknown, what: string) => void
  now: () => number
}

/** What is read every few seconds. */
type SlowPart = Pick<Overview, 'groups' | 'failures'> & {
  shown: string[]
  batches: Batch[]
  /** Ended jobs that wait to be copied to the history. */
  waiting: Awaited<ReturnType<HistoryStateReader['waiting']>>
}

/**
 * Takes snapshots. Each costs Redis one script call for each tenant shown, four short reads for each lane and two for each batch under way,
 * all sent together. Every 5 s it also reads the groups and the newest batches (five short commands for each tenant, and about 60 for each
 * group that waits) and the failures of tenants that have any.
 */
export function createSnapshots(deps: SnapshotDeps): () => Promise<Overview> {
  const { config, tenantStats, now } = deps
  const paces = createPaces()
  let slow: SlowPart = {
    shown: [],
    waiting: { jobs: 0, since: null },
    groups: [],
    batches: [],
    failures: [],
  }
  let slowReadAt = Number.NEGATIVE_INFINITY
  let slowDueAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | null = null
  let counting: Promise<void> | null = null

  async function readSlow(): Promise<void> {
    const names = tenantNames(config())
    const shown = names.length > SHOWN_TENANTS ? await chooseTenants(names) : names
    const [groups, batches, waiting] = await Promise.all([
      readGroups(shown),
      deps.batches.recent(shown, SHOWN),
      deps.historyState?.waiting(shown) ?? slow.waiting,
    ])
    slow = { ...slow, shown, groups, batches, waiting }
    slowReadAt = now()
    counting ??= readFailures(shown)
      .then((failures) => {
        slow = { ...slow, failures }
      })
      .catch((error: unknown) => deps.onError(error, 'counting failures'))
      .finally(() => {
        counting = null
      })
    // Counting very many failed jobs takes long, with pauses of its own. The rest does not wait for it.
    await Promise.race([counting, sleep(FIRST_SLOW_MS, undefined, { ref: false })])
  }

  function refreshSlow(): Promise<void> {
    const startedAt = now()
    if (reading !== null || startedAt < slowDueAt) return reading ?? Promise.resolve()
    reading = readSlow()
      .catch((error: unknown) => deps.onError(error, 'reading groups and batches'))
      .finally(() => {
        reading = null
        slowDueAt = startedAt + Math.max(SLOW_MS, SLOW_REST_FACTOR * (now() - startedAt))
      })
    return reading
  }

  async function chooseTenants(names: string[]): Promise<string[]> {
    const found = await tenantStats.read(names)
    const open = ({ counts }: (typeof found)[number]) => counts.scheduled + counts.queued + counts.running
    found.sort((one, other) => open(other) - open(one) || other.finishedPerMinute - one.finishedPerMinute)
    const chosen = new Set(found.slice(0, SHOWN_TENANTS).map(({ tenant }) => tenant))
    return names.filter((name) => chosen.has(name))
  }

  async function readGroups(names: string[]): Promise<GroupView[]> {
    const recent = await tenantStats.recentGroups(names, SHOWN)
    const groups = await Promise.all(
      recent.map(async ({ tenant, group, updatedAt }) => {
        const summary = await deps.jobs.group(tenant, group).catch((error: unknown) => {
          if (isHistoryUnavailable(error)) return null
          throw error
        })
        return summary === null ? [] : [{ tenant, ...summary, updated_at: updatedAt }]
      }),
    )
    return groups.flat().sort((one, other) => Number(isOpen(other)) - Number(isOpen(one)))
  }

  /** One tenant after the other, because counting failures may read many jobs. */
  async function readFailures(names: string[]): Promise<Overview['failures']> {
    const found: Overview['failures'] = []
    for (const { tenant, counts } of await tenantStats.read(names)) {
      if (counts.failed === 0) continue
      for (const { lane, code, count, last_at, retryable } of (await deps.jobs.failures(tenant)).classes) {
        found.push({ tenant, lane, code, count, last_at, retryable })
      }
    }
    return found
  }

  async function showHistory(): Promise<HistoryView | null> {
    if (deps.historyState === null) return null
    const { fails, since, error } = await deps.historyState.read()
    const { jobs, since: waitingSince } = slow.waiting
    return {
      status: fails === null ? 'available' : 'unavailable',
      unavailable_since: isoTime(since),
      ...{ fails, error },
      waiting_jobs: jobs,
      waiting_since: isoTime(waitingSince),
    }
  }

  async function readBatches(): Promise<BatchView[]> {
    const known = slow.batches
    const batches = await Promise.all(
      known.map((batch) => (isOver(batch.status) ? batch : deps.batches.get(batch.tenant, batch.id))),
    )
    const found = batches.filter((batch) => batch !== null)
    if (slow.batches === known) slow = { ...slow, batches: found }
    return found.map((batch) => ({
      tenant: batch.tenant,
      id: batch.id,
      status: batch.status,
      created_at: new Date(batch.createdAt).toISOString(),
      request_counts: {
        total: batch.total,
        completed: batch.tally.completed,
        failed: batch.tally.failed,
      },
      estimated_finish_at: isOver(batch.status) ? null : paces.forecastEnd(batch, now()),
    }))
  }

  return async () => {
    const refreshed = refreshSlow()
    if (now() - slowReadAt > STALE_MS) {
      await Promise.race([refreshed, sleep(FIRST_SLOW_MS, undefined, { ref: false })])
    }
    const shown = slow.shown.length > 0 ? slow.shown : tenantNames(config()).slice(0, SHOWN_TENANTS)
    const [lanes, tenants, batches, maintainer, history] = await Promise.all([
      deps.lanes.list(),
      tenantStats.read(shown).then((found) => describeTenants(config(), found)),
      readBatches(),
      deps.readMaintainer(),
      showHistory(),
    ])
    paces.keep(batches.map(({ id }) => id))
    const { groups, failures } = slow
    return {
      object: 'overview',
      at: new Date(now()).toISOString(),
      lanes,
      tenants,
      tenant_count: tenantNames(config()).length,
      maintainer: maintainer && { ...maintainer, since: new Date(maintainer.since).toISOString() },
      history,
      groups,
      batches,
      failures,
      unpriced: [
        ...findUnpriced(config()),
        ...findUnpricedUnnamed(
          config(),
          lanes.map(({ id }) => id),
        ),
      ],
    }
  }
}

function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}

function isOpen({ counts }: GroupView): boolean {
  return counts.scheduled + counts.queued + counts.running > 0
}
