import { ApiError } from '../api/errors.ts'
import { parseRequest } from '../api/issues.ts'
import { createScheduleSchema } from '../api/schedules/schema.ts'
import { changesSlots, toSettings } from '../api/schedules/settings.ts'
import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { resolveTenant, tenantNames } from '../config/tenants.ts'
import { createLiveConfig } from '../config/watch.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'
import { visitAll } from '../lib/visit-all.ts'
import { isSameSettings } from '../schedules/record.ts'
import type { ScheduleSettings } from '../schedules/schedule.ts'
import { createTimetable } from '../schedules/timetable.ts'
import type { openStore, ServicesDeps } from './store.ts'
import { createSubmission } from './submission.ts'

/** Interval of checks whether the configuration changed, and of comparisons with the store if it did not, ms. */
const LOOK_MS = 1000
const COMPARE_MS = 10 * 60_000

type Store = ReturnType<typeof openStore>
type Declared = { tenant: string; settings: ScheduleSettings }

/** Checks the jobs and flows of schedules in the file in the same way as the API. Throws a ConfigError that lists all faults. */
export async function checkDeclaredSchedules(config: Config): Promise<void> {
  const faults: string[] = []
  for (const index of config.schedules.keys()) {
    try {
      await readDeclared(config, index)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      faults.push(`schedules[${index}].${error.message}`)
    }
  }
  if (faults.length > 0) throw new ConfigError(faults)
}

async function readDeclared(config: Config, index: number): Promise<Declared> {
  const { tenant: name = tenantNames(config)[0]!, ...members } = config.schedules[index]!
  const tenant = resolveTenant(config, name)
  if (tenant === null) throw new ApiError('invalid_request', 'tenant: no such tenant is configured')
  const body = parseRequest(createScheduleSchema, members, `schedules[${index}]`)
  const deps = {
    submission: createSubmission(createLiveConfig(config), () => null),
    config: () => config,
    now: Date.now,
  }
  return { tenant: name, settings: await toSettings(tenant, body, deps) }
}

/**
 * Keeps the stored schedules equal to those of the file: creates, changes and removes them. A task of the maintainer, so that only one
 * worker's configuration counts.
 */
export function createDeclaredSchedulesTask({ config, log }: ServicesDeps, store: Store): PeriodicTask {
  const { schedules, now } = store
  let seen: { config: Config; signal: AbortSignal; at: number } | null = null

  async function keep({ tenant, settings }: Declared, id: string | undefined): Promise<void> {
    const schedule = id === undefined ? null : await schedules.get(tenant, id)
    if (schedule === null) {
      const timetable = createTimetable(settings, now())
      const at = timetable.next(now())
      const next =
        at === null
          ? null
          : settings.every !== null && settings.startsAt === null
            ? { inMs: at - now() }
            : { at }
      await schedules.create(tenant, settings, { next, most: null, declared: true })
      log.info({ tenant, name: settings.name }, 'schedule of the configuration made')
      return
    }
    if (isSameSettings(schedule, settings)) return
    const at = createTimetable(settings, schedule.createdAt).next(now())
    const retime = changesSlots(schedule, settings) ? { next: at === null ? null : { at } } : null
    await schedules.change(schedule, settings, { retime, byConfiguration: true })
    log.info({ tenant, schedule: schedule.id, name: settings.name }, 'schedule of the configuration changed')
  }

  async function compare(current: Config, tenant: string, wanted: readonly Declared[]): Promise<void> {
    const known = await schedules.declared(tenant)
    for (const one of wanted) await keep(one, known.get(one.settings.name ?? ''))
    const names = new Set(wanted.map(({ settings }) => settings.name))
    for (const [name, id] of known) {
      if (names.has(name) || current !== config.current()) continue
      await schedules.remove(tenant, id, { byConfiguration: true })
      log.info({ tenant, schedule: id, name }, 'schedule of the configuration removed')
    }
  }

  return {
    name: 'declared-schedules',
    everyMs: LOOK_MS,
    async run(signal) {
      const current = config.current()
      const isSeen =
        seen?.config === current && seen.signal === signal && performance.now() - seen.at < COMPARE_MS
      if (isSeen) return
      const wanted = await Promise.all(
        [...current.schedules.keys()].map((index) => readDeclared(current, index)),
      )
      const tenants = new Set([...(await store.maintenance.tenants()), ...wanted.map(({ tenant }) => tenant)])
      let isWhole = true
      await visitAll(
        [...tenants],
        async (tenant) => {
          if (!signal.aborted)
            await compare(
              current,
              tenant,
              wanted.filter((one) => one.tenant === tenant),
            )
        },
        (error, tenant) => {
          isWhole = false
          store.onFailure({ task: 'declared-schedules', tenant, error })
        },
        { endsWithStore: true },
      )
      if (isWhole && !signal.aborted) seen = { config: current, signal, at: performance.now() }
    },
  }
}
