import type { Jobs } from '../jobs/jobs.ts'
import { flowJobId } from './keys.ts'
import type { FlowRecord } from './record.ts'
import { attemptOf, type StepState } from './state.ts'

/** Ids checked in one script, and jobs removed in parallel. */
const BLOCK = 500
const REMOVED_AT_ONCE = 25

/** Removes all jobs of a removed flow: of all attempts, including those that a worker began before it died. */
export async function removeFlowJobs(
  { jobs }: { jobs: Pick<Jobs, 'statuses' | 'remove'> },
  tenant: string,
  { record, steps }: { record: FlowRecord; steps: StepState[] },
): Promise<void> {
  let ids: string[] = []
  /** Removes the collected jobs. Resolves to true if one of them existed. */
  async function flush(): Promise<boolean> {
    const asked = ids
    ids = []
    const statuses = await jobs.statuses(tenant, asked)
    const there = asked.filter((_, at) => statuses[at] !== null)
    for (let from = 0; from < there.length; from += REMOVED_AT_ONCE) {
      await Promise.all(there.slice(from, from + REMOVED_AT_ONCE).map((id) => jobs.remove(tenant, id)))
    }
    return there.length > 0
  }

  for (const [step, state] of steps.entries()) {
    for (let index = 0; index < state.next; index++) {
      for (let attempt = 1; attempt <= attemptOf(state, index); attempt++) {
        ids.push(flowJobId(record, step, index, attempt))
      }
      if (ids.length >= BLOCK) await flush()
    }
    // The first element that is not recorded may have a job too.
    ids.push(flowJobId(record, step, state.next, attemptOf(state, state.next)))
    if (ids.length >= BLOCK) await flush()
  }
  await flush()
  for (const [step, state] of steps.entries()) {
    if (state.total === null) continue
    for (let from = state.next + 1; from < state.total; from += BLOCK) {
      const count = Math.min(BLOCK, state.total - from)
      ids = Array.from({ length: count }, (_, at) => flowJobId(record, step, from + at, 1))
      if (!(await flush())) break
    }
  }
}
