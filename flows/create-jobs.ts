import { toWindows } from '../jobs/budgets.ts'
import { InputError } from '../jobs/input-error.ts'
import type { BulkOutcome } from '../jobs/jobs.ts'
import type { NewJob } from '../jobs/new-job.ts'
import { createBreather } from '../lib/breathe.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import { isRedisUnavailable } from '../lib/redis.ts'
import type { AdvanceDeps, CachedFlow } from './advance-deps.ts'
import { adoptEarly, type ElementChange } from './endings.ts'
import { describeEvaluation } from './evaluation-errors.ts'
import { createBudget, defaultExpressionBounds } from './expression.ts'
import { type FlowError, toFlowError } from './flow.ts'
import { flowJobId } from './keys.ts'
import { attemptOf, countFailed, countOpen, listRedo } from './state.ts'
import { createResolver } from './template.ts'

/** The most elements begun in one look; the next look begins more. */
const AT_ONCE = 250

/** The pause after a refusal that names no time, and the bounds for the times that refusals name, ms. */
const REFUSED_MS = 1000
const REFUSED_LEAST_MS = 50
const REFUSED_MOST_MS = 60_000

/** After this many internal errors an element fails. An unavailable store does not count. */
const MOST_ERRORS = 3

/** The outcome of creating jobs. `lookAt`: when to create more, Unix ms; null: no need. `firstError`: why the first failed element failed. */
export type CreationOutcome =
  | { isChanged: boolean; lookAt: number | null; firstError: FlowError | null }
  /** The step fails as a whole. */
  | { error: FlowError }

type Made = { index: number; isRedo: boolean; job: NewJob }

/**
 * Creates jobs of a step, as many as may be open: first the elements to redo, then the next ones in order. A job's id follows from its
 * element, so a job that is created twice is one job.
 */
export async function createElements(
  deps: Omit<AdvanceDeps, 'now'> & {
    note: (step: number, change: ElementChange) => void
    items: (context: { input: JsonValue; steps: JsonObject }) => JsonValue[]
    now: number
  },
  tenant: string,
  flow: CachedFlow,
  number: number,
  readContext: () => Promise<{ input: JsonValue; steps: JsonObject }>,
): Promise<
  | { isChanged: boolean; lookAt: number | null; firstError: FlowError | null }
  | { error: FlowError; isChanged: boolean; lookAt: null }
> {
  const { note, now } = deps
  const state = flow.steps[number]!
  const step = flow.compiled.steps[number]!
  const total = state.total ?? 0
  const outcome = { isChanged: false, lookAt: null as number | null, firstError: null as FlowError | null }
  const window = Math.min(step.maxInFlight ?? Number.POSITIVE_INFINITY, deps.window(tenant))
  const redo = listRedo(state)
  if (redo.length === 0 && state.next === total) return outcome

  const context = await readContext()
  const items = step.forEach === null ? null : deps.items(context)
  const made: Made[] = []
  /** The size of all values that were filled into these jobs. */
  let filled = 0
  const breathe = createBreather()

  function failElement(index: number, error: FlowError): void {
    const attempt = attemptOf(state, index)
    state.elements.set(index, { attempt, status: 'failed' })
    note(number, { index, element: { attempt, status: 'failed' } })
    outcome.firstError ??=
      items === null ? error : { ...error, message: `element ${index}: ${error.message}` }
    outcome.isChanged = true
  }

  /** Takes over a job that was created early. True: the element needs a job. */
  function takeEarly(index: number): boolean {
    const early = adoptEarly(state, index)
    if (early === null) return true
    outcome.isChanged = true
    note(number, early.change)
    return !early.isMade
  }

  /** Fills the create object of an element and adds its job to `made`. False: the tenant no longer exists. */
  function prepare(index: number, isRedo: boolean): boolean {
    const element = items === null ? {} : { item: items[index], index }
    const budget = createBudget()
    const resolve = createResolver({ ...context, ...element }, budget)
    try {
      const create = step.job!.fill?.(resolve) ?? step.job!.value
      filled += defaultExpressionBounds.size - budget.room
      const job = deps.toJob(tenant, create, `steps.${step.name}.job`, flow.record.terms)
      if (job === null) return false
      if ('tenant' in job) made.push({ index, isRedo, job: ownJob(index, job) })
      else failElement(index, job)
    } catch (error) {
      const found = describeEvaluation(error, step)
      if (found === null) throw error
      failElement(index, found)
    }
    return true
  }

  function ownJob(index: number, job: NewJob): NewJob {
    const { record } = flow
    const { id, budgetNano } = record
    const total =
      budgetNano === null ? [] : [{ usd: budgetNano / 1e9, per: 'total' as const, time_zone: 'UTC' }]
    const own = toWindows({ owner: 'flow', name: id }, [...total, ...record.budgets], now)
    const budgets = [...(job.limits.budgets ?? []), ...own]
    const attempt = attemptOf(state, index)
    const deadlines = [job.deadline, record.deadline].filter((time) => time !== null)
    return {
      ...job,
      id: flowJobId(record, number, index, attempt),
      limits: budgets.length === 0 ? job.limits : { ...job.limits, budgets },
      flow: {
        id: record.id,
        step: number,
        name: step.name,
        element: index,
        attempt,
      },
      group: job.group ?? record.group,
      deadline: deadlines.length === 0 ? null : Math.min(...deadlines),
      ...(record.requestId === null ? {} : { requestId: record.requestId }),
      ...(record.trace === null ? {} : { trace: record.trace }),
    }
  }

  // Chooses the elements in order. `ready` collects elements that need no further job, so that `next` can move past them.
  const chosen: { index: number; isRedo: boolean }[] = []
  let room = Math.min(AT_ONCE, window - countOpen(state))
  for (const index of redo) {
    if (!takeEarly(index)) continue
    if (room-- <= 0) break
    chosen.push({ index, isRedo: true })
  }
  let next = state.next
  const ready = new Set<number>()
  while (next < total && room > 0) {
    if (takeEarly(next)) {
      chosen.push({ index: next, isRedo: false })
      room--
    } else ready.add(next)
    next++
  }
  for (const { index, isRedo } of chosen) {
    if (!prepare(index, isRedo))
      return {
        error: toFlowError('tenant_removed', 'The tenant is no longer configured.'),
        isChanged: true,
        lookAt: null,
      }
    if (!isRedo && state.elements.get(index)?.status === 'failed') ready.add(index)
    // More elements failed than the step allows, so further jobs would be useless.
    if (countFailedAhead() > step.allowFailures) break
    // All filled jobs are in memory until they are submitted, so the next look creates the rest.
    if (filled > defaultExpressionBounds.size) break
    await breathe()
  }

  /** Counts failed elements, including those at or after `next`. */
  function countFailedAhead(): number {
    let failed = 0
    for (const { status } of state.elements.values()) if (status === 'failed') failed++
    return failed
  }

  const refusal = countFailedAhead() > step.allowFailures ? null : await submit()
  while (state.next < total && ready.has(state.next)) {
    state.next++
    outcome.isChanged = true
  }
  if (refusal !== null && 'error' in refusal) return { ...refusal, isChanged: true, lookAt: null }
  if (refusal !== null) outcome.lookAt = now + refusal.pauseMs
  else if (countFailed(state) <= step.allowFailures && canGoOn()) outcome.lookAt = now
  return outcome

  function canGoOn(): boolean {
    const left = listRedo(state).length > 0 || state.next < total
    return left && countOpen(state) < window
  }

  /** Submits the jobs. Refused ones are tried again after a pause. */
  async function submit(): Promise<{ pauseMs: number } | { error: FlowError } | null> {
    if (made.length === 0) return null
    const outcomes = await deps.jobs.createMany(made.map(({ job }) => job))
    let refused: { pauseMs: number } | { error: FlowError } | null = null
    for (const [at, one] of outcomes.entries()) {
      const { index, isRedo, job } = made[at]!
      const said = judge(one, index)
      if (said !== null) {
        if (refused === null || 'error' in said) refused = said
        continue
      }
      outcome.isChanged = true
      if (state.elements.get(index)?.status === 'failed') {
        if (!isRedo) ready.add(index)
      } else if (isRedo) {
        const element = { attempt: job.flow!.attempt, status: 'open' as const }
        state.elements.set(index, element)
        note(number, { index, element })
      } else ready.add(index)
    }
    return refused
  }

  /** Judges the outcome for one element. Null: the element has its job, or has failed. */
  function judge(one: BulkOutcome, index: number): { pauseMs: number } | { error: FlowError } | null {
    const name = `${number}:${index}`
    switch (one.kind) {
      case 'created':
      case 'replayed':
        flow.errors.delete(name)
        return null
      case 'conflict':
        failElement(index, toFlowError('idempotency_conflict', 'Another job has the id of this one.'))
        return null
      case 'refused':
        if (one.code === 'flow_budget_exhausted') {
          return {
            error: toFlowError(
              'budget_exhausted',
              'The cost so far and the open jobs would exceed budget_usd.',
            ),
          }
        }
        if (one.code === 'unpriced') {
          failElement(index, toFlowError('invalid_request', 'The model has no price, and a budget applies.'))
          return null
        }
        if (one.code === 'deadline_unreachable') {
          failElement(
            index,
            toFlowError('deadline_unreachable', 'The job could not start before its deadline.'),
          )
          return null
        }
        return {
          pauseMs: Math.min(Math.max(one.retryAfterMs ?? REFUSED_MS, REFUSED_LEAST_MS), REFUSED_MOST_MS),
        }
      case 'failed': {
        if (isRedisUnavailable(one.error)) throw one.error
        if (one.error instanceof InputError) {
          failElement(index, toFlowError('invalid_request', one.error.message))
          return null
        }
        deps.onError(one.error, `a job of flow ${flow.record.id}`)
        const errors = (flow.errors.get(name) ?? 0) + 1
        flow.errors.set(name, errors)
        if (errors < MOST_ERRORS) return { pauseMs: REFUSED_MS }
        failElement(index, toFlowError('internal_error', 'Something went wrong on our side.', true))
        return null
      }
    }
  }
}
