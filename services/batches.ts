import { createBatchLineReader, describeLineFailure, showLineResult } from '../api/batches/lines.ts'
import { startBatchRunner } from '../batches/runner/runner.ts'
import { batchChannel } from '../batches/store.ts'
import { resolveModel } from '../config/lanes.ts'
import { resolveTenant } from '../config/tenants.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { Closers } from './closers.ts'
import type { MeteredDeps, openStore } from './store.ts'
import { createSubmission } from './submission.ts'

/** Runs batches: reads their inputs, submits their lines, writes their outputs. */
export function openBatchRunner(
  { config }: MeteredDeps,
  store: ReturnType<typeof openStore>,
  jobs: Jobs,
  closers: Closers,
): void {
  const runner = startBatchRunner({
    work: store.batchWork,
    files: store.files,
    jobs,
    lines: createBatchLineReader({
      submission: createSubmission(config, store.gathering.turnaround),
      config: () => config.current(),
      now: store.now,
    }),
    describeFailure: describeLineFailure,
    showResult: showLineResult,
    tenants: store.batchTenants.list,
    maxQueued: (tenant) => resolveTenant(config.current(), tenant)?.limits.max_queued ?? null,
    gatherWindow: (model) => {
      const lane = resolveModel(config.current(), model)?.lanes[0]
      return lane?.tiers?.batch ? lane.tiers.batch.max_lines : null
    },
    fileRetainMs: () => config.current().files.retain,
    now: store.now,
    onError: store.onError,
    onFailure: store.onFailure,
  })
  closers.add('the batches', () => runner.stop())
  store.pubsub.keepListening(batchChannel(store.prefix), (id) => runner.wake(id))
}
