import { isBatchId } from '../batches/batch.ts'
import { resolveLane } from '../config/lanes.ts'
import { resolveTenant } from '../config/tenants.ts'
import { tenantRoot } from '../jobs/keys.ts'
import { createRedrive } from '../jobs/redrive.ts'
import { createRedriveSchedule } from '../jobs/redrive-schedule.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'
import type { openStore, ServicesDeps } from './store.ts'

/** Interval of checks for tenants whose turn has come, ms. */
const LOOK_MS = 1000

/** Retries failed jobs as configured. */
export function createRedriveTask(
  { config, log }: ServicesDeps,
  store: ReturnType<typeof openStore>,
): PeriodicTask {
  const rootOf = (tenant: string) => tenantRoot(store.prefix, tenant)
  const schedule = createRedriveSchedule({
    redis: store.redis,
    redrive: createRedrive({
      ...store,
      rootOf,
      onAgain: store.history?.onAgain ?? null,
      onError: store.report,
    }),
    rootOf,
    tenants: store.maintenance.tenants,
    activeTenants: store.active.list,
    policy: {
      rules: () =>
        config.current().redrive.map(({ error_codes, lanes, after, max_times }) => ({
          errorCodes: error_codes,
          lanes: lanes ?? null,
          afterMs: after,
          maxTimes: max_times,
        })),
      roomOf: (name) => {
        const tenant = resolveTenant(config.current(), name)
        if (tenant === null) return null
        const { max_queued, budget_usd_per_day } = tenant.limits
        return { maxQueued: max_queued, budgetUsdPerDay: budget_usd_per_day ?? null }
      },
      isServed: (lane) => resolveLane(config.current(), lane) !== null,
      // A batch writes its lines as soon as possible, including failures: a later answer would be paid for but written nowhere.
      isWanted: ({ group }) => group === null || !isBatchId(group),
    },
    isMemoryShort: store.memory.isShort,
    now: store.now,
    onRedriven: (tenant, count) => log.info({ tenant, jobs: count }, 'queued failed jobs again'),
    onFailure: store.onFailure,
  })
  return { name: 'redrive', everyMs: LOOK_MS, run: schedule.run }
}
