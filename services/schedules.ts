import type { LaneControl } from '../api/lanes/lanes.ts'
import { createFlowLauncher } from '../api/schedules/scheduled-flows.ts'
import { createJobLauncher } from '../api/schedules/scheduled-jobs.ts'
import { resolveTenant } from '../config/tenants.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'
import { createScheduleTask } from '../schedules/runner.ts'
import { logSlot } from './schedule-log.ts'
import type { MeteredDeps, openStore } from './store.ts'
import { createSubmission } from './submission.ts'

/** Runs due slots of schedules, as a task of the maintainer. */
export function createSchedulesTask(
  { config, log, metrics }: MeteredDeps,
  store: ReturnType<typeof openStore>,
  jobs: Pick<Jobs, 'createMany' | 'statuses' | 'cancel'>,
  lanes: Pick<LaneControl, 'forecast'>,
): PeriodicTask {
  const { flows, now } = store
  const shared = {
    submission: createSubmission(config, store.gathering.turnaround),
    config: () => config.current(),
    now,
  }
  const job = createJobLauncher({ ...shared, lanes, store: { jobs } })
  const flow = createFlowLauncher({ ...shared, store: { flows } })
  return createScheduleTask({
    work: store.scheduleWork,
    launchers: { job, flow },
    isTenant: (name) => resolveTenant(config.current(), name) !== null,
    now,
    onSlot(event) {
      logSlot(log, event)
      metrics.schedules.onSlot(event)
    },
    onFailure: store.onFailure,
  })
}
