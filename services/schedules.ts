import { createJobLauncher } from '../api/schedules/scheduled-jobs.ts'
import { resolveTenant } from '../config/tenants.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'
import type { Launcher } from '../schedules/launch.ts'
import { createScheduleTask } from '../schedules/runner.ts'
import { logSlot } from './schedule-log.ts'
import type { MeteredDeps, openStore } from './store.ts'
import { createSubmission } from './submission.ts'

/** Runs what schedules have due, as a task of the maintainer. */
export function createSchedulesTask(
  { config, log, metrics }: MeteredDeps,
  store: ReturnType<typeof openStore>,
  jobs: Pick<Jobs, 'createMany' | 'statuses' | 'cancel'>,
): PeriodicTask {
  const { forecaster, now } = store
  const forecast = async (...about: Parameters<typeof forecaster.newcomer>) =>
    (await forecaster.newcomer(...about)).startAt
  const job = createJobLauncher({
    ...createSubmission(config, now),
    config: () => config.current(),
    forecast,
    jobs,
  })
  return createScheduleTask({
    work: store.scheduleWork,
    launchers: { job, flow: noFlows },
    isTenant: (name) => resolveTenant(config.current(), name) !== null,
    now,
    onSlot(event) {
      logSlot(log, event)
      metrics.schedules.onSlot(event)
    },
    onFailure: store.onFailure,
  })
}

/** No schedule of flows was let in. */
const noFlows: Launcher = {
  launch: async () => ({
    kind: 'refused',
    error: { code: 'invalid_request', message: 'flow: there are no flows in this version' },
    retryAfterMs: null,
  }),
  isOpen: async () => false,
  cancel: async () => {},
}
