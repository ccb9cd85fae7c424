import type { LaneControl, LaneView } from '../api/lanes/lanes.ts'
import { type OverviewHistory, type OverviewSample, RECENT } from '../api/overview/history.ts'
import type { TenantStats, TenantStatsReader } from '../jobs/tenant-stats.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'

/** Figures of idle tenants are read again after this, ms, because budgets start anew at midnight and jobs are deleted. */
const IDLE_MS = 10 * 60_000

/**
 * Samples the whole installation every quarter of a minute, so that charts show data from before a page was loaded. A task of the
 * maintainer.
 */
export function createOverviewHistoryTask(deps: {
  history: OverviewHistory
  lanes: Pick<LaneControl, 'list'>
  tenantStats: Pick<TenantStatsReader, 'read'>
  tenants: () => Promise<string[]>
  /** Tenants with recent writes. */
  activeTenants: () => Promise<string[]>
  /** Unix ms, by Redis' clock. */
  now: () => number
}): PeriodicTask {
  let known = new Map<string, TenantStats>()
  let active = new Set<string>()
  let wholeReadAt = Number.NEGATIVE_INFINITY

  /** Reads only tenants that have changed. */
  async function readTenants(): Promise<TenantStats[]> {
    const now = performance.now()
    const isWhole = now - wholeReadAt > IDLE_MS
    const nowActive = new Set(await deps.activeTenants())
    // Tenants that were active at the last sample may have ended jobs since.
    const names = isWhole ? await deps.tenants() : [...new Set([...active, ...nowActive, ...finishing()])]
    const read = names.length === 0 ? [] : await deps.tenantStats.read(names)
    if (isWhole) {
      known = new Map()
      wholeReadAt = now
    }
    for (const one of read) known.set(one.tenant, one)
    active = nowActive
    return [...known.values()]
  }

  const finishing = () =>
    [...known.values()].flatMap((one) => (one.finishedPerMinute > 0 ? [one.tenant] : []))

  return {
    name: 'overview',
    everyMs: RECENT.everyMs,
    async run(signal) {
      const [lanes, tenants] = await Promise.all([deps.lanes.list(), readTenants()])
      if (!signal.aborted) await deps.history.add(toSample(deps.now(), lanes, tenants))
    },
  }
}

function toSample(now: number, lanes: readonly LaneView[], tenants: readonly TenantStats[]): OverviewSample {
  const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0)
  return {
    at: new Date(now).toISOString(),
    total: {
      finished_per_minute: sum(tenants.map((one) => one.finishedPerMinute)),
      in_flight: sum(lanes.map((lane) => lane.in_flight)),
      waiting: sum(tenants.map(({ counts }) => counts.queued + counts.scheduled)),
      failed: sum(tenants.map(({ counts }) => counts.failed)),
      spent_usd: sum(tenants.map((one) => one.spentUsd)),
      throttled: sum(lanes.map((lane) => lane.throttled)),
    },
    lanes: Object.fromEntries(
      lanes
        .filter(isBusy)
        .map(({ id, in_flight, backlog, throttled, paused_until, used }) => [
          id,
          { in_flight, waiting: backlog.waiting, throttled, paused: paused_until !== null, used },
        ]),
    ),
  }
}

function isBusy({ in_flight, backlog, paused_until, utilisation }: LaneView): boolean {
  return in_flight > 0 || backlog.waiting > 0 || paused_until !== null || utilisation > 0
}
