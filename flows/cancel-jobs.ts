import { isTerminal } from '../jobs/job.ts'
import type { Jobs } from '../jobs/jobs.ts'
import { flowJobId } from './keys.ts'
import type { LoadedFlow } from './record.ts'
import { attemptOf, countOpen, isSettled } from './state.ts'

/** Statuses read in one script, and jobs cancelled in parallel. */
const BLOCK = 500
const CANCEL_AT_ONCE = 50

type Element = { step: number; index: number }

/**
 * Cancels the open jobs of a flow: of all steps, or of settled steps only. The script that ends a job reports its end to the flow.
 * Returns the elements whose jobs no longer exist, because no script reports their end.
 *
 * @param options.withUnrecorded true: takes all steps, and also jobs that a worker may have begun before it died without recording them
 */
export async function cancelOpenJobs(
  { jobs }: { jobs: Pick<Jobs, 'statuses' | 'cancel'> },
  tenant: string,
  flow: Pick<LoadedFlow, 'record' | 'steps'>,
  { withUnrecorded }: { withUnrecorded: boolean },
): Promise<Element[]> {
  const idOf = ({ step, index }: Element) =>
    flowJobId(flow.record, step, index, attemptOf(flow.steps[step]!, index))
  const lost: Element[] = []

  /** Resolves to true if at least one of the jobs exists. */
  async function cancel(elements: Element[], isRecorded: boolean): Promise<boolean> {
    let isAny = false
    for (let from = 0; from < elements.length; from += BLOCK) {
      const some = elements.slice(from, from + BLOCK)
      const statuses = await jobs.statuses(tenant, some.map(idOf))
      const open = some.filter((_, at) => statuses[at] !== null && !isTerminal(statuses[at]!))
      if (isRecorded) lost.push(...some.filter((_, at) => statuses[at] === null))
      isAny ||= statuses.some((status) => status !== null)
      for (let at = 0; at < open.length; at += CANCEL_AT_ONCE) {
        await Promise.all(open.slice(at, at + CANCEL_AT_ONCE).map((one) => jobs.cancel(tenant, idOf(one))))
      }
    }
    return isAny
  }

  const recorded: Element[] = []
  for (const [step, state] of flow.steps.entries()) {
    if (countOpen(state) === 0 || !(withUnrecorded || isSettled(state))) continue
    for (let index = 0; index < state.next; index++) {
      const status = state.elements.get(index)?.status
      if (status === undefined || status === 'open') recorded.push({ step, index })
    }
  }
  await cancel(recorded, true)
  if (!withUnrecorded) return lost

  const begun = flow.steps.flatMap((state, step) =>
    isSettled(state) || state.elements.get(state.next)?.status.startsWith('early_')
      ? []
      : [{ step, index: state.next }],
  )
  const redo = flow.steps.flatMap((state, step) =>
    [...state.elements].flatMap(([index, { status }]) => (status === 'redo' ? [{ step, index }] : [])),
  )
  if (redo.length > 0) await cancel(redo, false)
  if (begun.length === 0 || !(await cancel(begun, false))) return lost
  // A worker begins the elements of a large step in blocks, so more of them may exist.
  for (const { step, index } of begun) {
    const total = flow.steps[step]!.total ?? 1
    for (let from = index + 1; from < total; from += BLOCK) {
      const count = Math.min(BLOCK, total - from)
      const some = Array.from({ length: count }, (_, at) => ({ step, index: from + at }))
      if (!(await cancel(some, false))) break
    }
  }
  return lost
}
