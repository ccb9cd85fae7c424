import { type ElementState, type Ending, isSettled, type StepState } from './state.ts'

/** A change to an element of a step that is not written yet. Null: removes the element's field. */
export type ElementChange = { index: number; element: ElementState | null }

/**
 * Counts the end of a job. Each end is reported once, so it needs no check for repetition. Returns the changes to elements; null if a
 * later attempt has replaced this one.
 *
 * @param isStopping true: the flow is cancelling its jobs, so a cancelled job did not fail
 */
export function countEnding(step: StepState, ending: Ending, isStopping: boolean): ElementChange[] | null {
  const { index } = ending
  const known = step.elements.get(index)
  const attempt = known?.attempt ?? 1
  const stopped = ending.status === 'cancelled' && (isStopping || isSettled(step))

  function set(element: ElementState | null): ElementChange[] {
    if (element === null) return step.elements.delete(index) ? [{ index, element }] : []
    step.elements.set(index, element)
    return [{ index, element }]
  }

  // A runner created this job and died before it recorded it. It counts when its element's turn comes.
  if (index >= step.next || (known?.status === 'redo' && ending.attempt === attempt)) {
    if (ending.attempt !== attempt) return null
    const status = ending.status === 'completed' ? 'early_done' : stopped ? 'early_cancelled' : 'early_failed'
    return set({ attempt, status })
  }
  // A later attempt has replaced this one.
  if (ending.attempt !== attempt) return null
  if (ending.status === 'completed') {
    // It completed by itself, or after its owner queued it again.
    step.done++
    return attempt === 1 ? set(null) : set({ attempt, status: 'done' })
  }
  return set({ attempt, status: stopped ? 'cancelled' : 'failed' })
}

/**
 * Takes over the job of an element that ended before its turn. `isMade`: the element needs no other job. Null: there is no such job.
 */
export function adoptEarly(
  step: StepState,
  index: number,
): { change: ElementChange; isMade: boolean } | null {
  const known = step.elements.get(index)
  if (known === undefined || !known.status.startsWith('early_')) return null
  const { attempt } = known
  if (known.status === 'early_cancelled') {
    const element: ElementState = { attempt: attempt + 1, status: 'open' }
    step.elements.set(index, element)
    return { change: { index, element }, isMade: false }
  }
  const isDone = known.status === 'early_done'
  const element: ElementState | null = isDone
    ? attempt === 1
      ? null
      : { attempt, status: 'done' }
    : { attempt, status: 'failed' }
  if (isDone) step.done++
  if (element === null) step.elements.delete(index)
  else step.elements.set(index, element)
  return { change: { index, element }, isMade: true }
}

/** Marks failed and cancelled elements to be redone. */
export function redoElements(step: StepState): ElementChange[] {
  const changes: ElementChange[] = []
  for (const [index, { attempt, status }] of step.elements) {
    if (index >= step.next || (status !== 'failed' && status !== 'cancelled')) continue
    const element: ElementState = { attempt: attempt + 1, status: 'redo' }
    step.elements.set(index, element)
    changes.push({ index, element })
  }
  return changes
}
