import { createFlowLauncher } from '../api/schedules/scheduled-flows.ts'
import { createJobLauncher } from '../api/schedules/scheduled-jobs.ts'
import { resolveTenant } from '../config/tenants.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'
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
  const submission = {
    ...createSubmission(config, now, store.gathering.turnaround),
    config: () => config.current(),
  }
  const job = createJobLauncher({ ...submission, forecast, jobs })
  const flow = createFlowLauncher({ ...submission, flows: store.flows })
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
