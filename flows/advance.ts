import type { StoredError } from '../jobs/at-rest.ts'
import { tenantRoot } from '../jobs/keys.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { AdvanceDeps, CachedFlow } from './advance-deps.ts'
import { cancelOpenJobs } from './cancel-jobs.ts'
import type { CompiledStep } from './compile.ts'
import { type ContextDeps, readContext } from './context.ts'
import { type CreationOutcome, createElements } from './create-jobs.ts'
import { countEnding, redoElements } from './endings.ts'
import { describeEvaluation, StepError } from './evaluation-errors.ts'
import { defaultExpressionBounds } from './expression.ts'
import { type FlowError, type FlowEventType, type FlowStatus, isOver, toFlowError } from './flow.ts'
import { flowJobId, sealedPlaces } from './keys.ts'
import type { LoadedFlow } from './record.ts'
import {
  attemptOf,
  blockedStep,
  countFailed,
  countOpen,
  decodeEnding,
  encodeElement,
  encodeStep,
  isSettled,
  type SkipReason,
  type StepState,
} from './state.ts'
import { createResolver, resolveOrNull, type Template, UnresolvedError } from './template.ts'
import { type Changes, type ClaimedFlow, noChanges } from './work.ts'

/** What of a look is told once it is written. */
export type FlowProgress = {
  /** Null: as it was. */
  status: FlowStatus | null
  errorCode: string | null
  steps: ('completed' | 'failed' | 'skipped')[]
}

/** Between two looks at jobs that are to end, at a queue that is full, ms. */
const LOOK_MS = 1000

/** The flow came to its end while it was looked at: nothing more is to be begun. */
type Stop = { error: FlowError }

/**
 * One look at a flow: counts the jobs that ended, settles steps, begins those that are free, and says how the flow stands. Changes the
 * flow in memory; what it answers is to be written, or the flow in memory to be dropped.
 */
export async function lookAtFlow(
  deps: AdvanceDeps,
  claimed: ClaimedFlow,
  flow: CachedFlow,
): Promise<{ changes: Changes; progress: FlowProgress }> {
  const { tenant, id } = claimed
  const { record, compiled, steps } = flow
  const root = tenantRoot(deps.prefix, tenant)
  const changes = noChanges()
  const progress: FlowProgress = { status: null, errorCode: null, steps: [] }
  const touched = new Set<number>()
  const lookAts: number[] = []
  /** Values that this look came to, and that are not written yet. */
  const fresh = new Map<number, JsonValue>()
  const now = deps.now()
  const contextDeps: ContextDeps = {
    jobs: deps.jobs,
    readValue: async (step) => fresh.get(step) ?? (await deps.readValue(tenant, id, step)) ?? null,
    openError,
    mostBytes: deps.bounds().valueBytes,
  }

  countEndings()
  const wasOver = isOver(record.status)
  if (wasOver || record.isSettling) {
    const isSettled = await settle()
    if (wasOver || !isSettled) return write()
  }
  if (record.isRestarting) restart()
  const isLate = record.deadline !== null && now >= record.deadline
  const stop = isLate
    ? { error: toFlowError('deadline_exceeded', 'The deadline passed before the flow had ended.') }
    : await visitSteps()
  await finish(stop)
  return write()

  function countEndings(): void {
    const isStopping = isOver(record.status) || record.isSettling
    for (const ending of claimed.endings.map(decodeEnding)) {
      changes.counted++
      if (ending.usage !== null) addUsage(ending.usage)
      const state = steps[ending.step]
      const changed = state && countEnding(state, ending, isStopping)
      if (!changed) continue
      touch(ending.step)
      for (const change of changed) noteElement(ending.step, change)
    }
  }

  function addUsage({ input_tokens, output_tokens, total_tokens }: LoadedFlow['record']['usage']): void {
    record.usage = {
      input_tokens: record.usage.input_tokens + input_tokens,
      output_tokens: record.usage.output_tokens + output_tokens,
      total_tokens: record.usage.total_tokens + total_tokens,
    }
    changes.fields.set('usage', JSON.stringify(record.usage))
  }

  function touch(number: number): void {
    touched.add(number)
  }

  function noteElement(
    number: number,
    { index, element }: { index: number; element: Parameters<typeof encodeElement>[0] | null },
  ): void {
    touch(number)
    // That of a step without for_each stands in the step itself.
    if (compiled.steps[number]!.forEach === null) return
    changes.elements.set(`${number}:${index}`, element === null ? '' : encodeElement(element))
  }

  function emit(event: FlowEventType, step: CompiledStep, members: JsonObject = {}): void {
    const text = JSON.stringify({ step: step.name, ...members })
    changes.events.push([event, `,${text.slice(1, -1)}`])
  }

  function seal(error: FlowError): string {
    return deps.atRest.sealError(root, id, error)
  }

  function openError(stored: string): FlowError {
    const { code, message, provider_status, retryable } = deps.atRest.openError(
      root,
      JSON.parse(stored) as StoredError,
    )
    return { code, message, provider_status, retryable }
  }

  /** Cancels what has not ended. True: everything has. */
  async function settle(): Promise<boolean> {
    const lost = await cancelOpenJobs(deps, tenant, flow, { withUnnoted: true })
    for (const { step, index } of lost) {
      const ending = {
        step,
        index,
        attempt: attemptOf(steps[step]!, index),
        status: 'deleted' as const,
        at: now,
        usage: null,
      }
      for (const change of countEnding(steps[step]!, ending, true) ?? []) noteElement(step, change)
    }
    if (steps.some((state) => countOpen(state) > 0)) {
      lookAts.push(now + LOOK_MS)
      return false
    }
    if (record.isSettling) changes.fields.set('settling', '')
    // No look at the flow ended it. Its end is reported once, when none of its jobs runs any more.
    if (record.isSettling && record.status === 'cancelled') progress.status = 'cancelled'
    record.isSettling = false
    return true
  }

  /** Lets what failed, and what was cancelled or skipped with it, be made again. */
  function restart(): void {
    record.isRestarting = false
    changes.fields.set('restart', '')
    for (const [number, state] of steps.entries()) {
      if (state.phase === 'completed') continue
      if (state.phase === 'skipped' && state.reason !== 'needs') continue
      touch(number)
      const isBegun = state.total !== null
      if (state.phase === 'skipped' || state.phase === 'waiting' || !isBegun) {
        const { elements, next, done, total } = state
        Object.assign(state, blockedStep(), { elements, next, done, total })
      } else {
        for (const change of redoElements(state)) noteElement(number, change)
        Object.assign(state, { phase: 'active', error: null, reason: null, finishedAt: null })
      }
    }
  }

  async function visitSteps(): Promise<Stop | null> {
    for (const number of compiled.order) {
      const state = steps[number]!
      const step = compiled.steps[number]!
      if (isSettled(state)) continue
      const stop = await visit(step, state)
      if (stop !== null) return stop
    }
    return null
  }

  async function visit(step: CompiledStep, state: StepState): Promise<Stop | null> {
    if (state.phase === 'blocked') {
      const needed = step.needs.map((need) => steps[need]!)
      if (!needed.every(isSettled)) return null
      const completed = needed.filter(({ phase }) => phase === 'completed').length
      const isEnough = step.needsAny ? completed > 0 || needed.length === 0 : completed === needed.length
      if (!isEnough) {
        skip(step, state, 'needs')
        return null
      }
      const stop = await begin(step, state)
      if (stop !== null) return stop
    }
    if (state.phase === 'waiting') return wait(step, state)
    return state.phase === 'active' ? work(step, state) : null
  }

  /** Evaluates what says whether, and how often, a step runs. */
  async function begin(step: CompiledStep, state: StepState): Promise<Stop | null> {
    touch(step.number)
    const found = await tryTo(step, async () => {
      const context = await readContext(contextDeps, tenant, flow, [step.when, step.forEach])
      if (step.when !== null && !isTrue(step.when, context)) return 'skip'
      return step.forEach === null ? null : fillList(step.forEach, context)
    })
    if ('error' in found) return fail(step, state, found.error)
    if (found.value === 'skip') {
      skip(step, state, 'when')
      return null
    }
    state.startedAt = now
    if (step.signalTimeoutMs !== null) {
      Object.assign(state, { phase: 'waiting', waitsUntil: now + step.signalTimeoutMs })
      emit('step.waiting', step)
      return null
    }
    if (found.value !== null) flow.items.set(step.number, found.value)
    Object.assign(state, { phase: 'active', total: found.value === null ? 1 : found.value.length })
    const jobId =
      step.forEach === null ? { job_id: flowJobId(record, step.number, 0, attemptOf(state, 0)) } : {}
    emit('step.started', step, jobId)
    return null
  }

  async function wait(step: CompiledStep, state: StepState): Promise<Stop | null> {
    // What was signalled is kept by the script that takes it; a value that is null is one as well.
    const signal = await deps.readValue(tenant, id, step.number)
    if (signal !== undefined) {
      state.hasValue = true
      complete(step, state)
      return null
    }
    if (now >= (state.waitsUntil ?? 0)) {
      return fail(step, state, toFlowError('signal_timeout', 'No signal came in time.', true))
    }
    lookAts.push(state.waitsUntil!)
    return null
  }

  /** Begins jobs of a step, and settles it when there is nothing left to do. */
  async function work(step: CompiledStep, state: StepState): Promise<Stop | null> {
    let failed = countFailed(state)
    let first: FlowError | null = null
    if (failed <= step.allowFailures) {
      const outcome = await beginJobs(step)
      if ('error' in outcome) return fail(step, state, outcome.error)
      first = outcome.firstError
      failed = countFailed(state)
    }
    if (failed > step.allowFailures) return fail(step, state, first ?? (await readFailure(step, state)))
    if (state.next === state.total && state.done + failed === state.total) complete(step, state)
    return null
  }

  async function beginJobs(step: CompiledStep): Promise<CreationOutcome> {
    const found = await tryTo(step, async () => {
      const outcome = await createElements(
        { ...deps, note: noteElement, items: (context) => itemsOf(step, context), now },
        tenant,
        flow,
        step.number,
        () =>
          readContext(contextDeps, tenant, flow, [
            step.job,
            flow.items.has(step.number) ? null : step.forEach,
          ]),
      )
      if (outcome.lookAt !== null) lookAts.push(outcome.lookAt)
      if (outcome.isChanged) touch(step.number)
      return outcome
    })
    return 'error' in found ? found : found.value
  }

  function itemsOf(step: CompiledStep, context: { input: JsonValue; steps: JsonObject }): JsonValue[] {
    const known = flow.items.get(step.number)
    if (known !== undefined) return known
    const items = fillList(step.forEach!, context)
    flow.items.set(step.number, items)
    return items
  }

  function isTrue(when: Template, context: { input: JsonValue; steps: JsonObject }): boolean {
    const [first] = when.expressions
    // One expression may come to nothing, which is an answer here.
    const value =
      first?.isWhole === true
        ? resolveOrNull(first, context, defaultExpressionBounds)
        : (when.fill?.(createResolver(context, defaultExpressionBounds)) ?? when.value)
    return value !== false && value !== null
  }

  function fillList(forEach: Template, context: { input: JsonValue; steps: JsonObject }): JsonValue[] {
    const value = forEach.fill?.(createResolver(context, defaultExpressionBounds)) ?? forEach.value
    const most = deps.bounds().elements
    if (!Array.isArray(value)) throw new StepError('invalid_for_each', 'for_each: is no list')
    if (value.length > most) {
      throw new StepError(
        'too_many_elements',
        `for_each: has ${value.length} elements, and ${most} are allowed`,
      )
    }
    return value
  }

  /** Why the first of a step's jobs failed. */
  async function readFailure(step: CompiledStep, state: StepState): Promise<FlowError> {
    const failed = [...state.elements].filter(([, { status }]) => status === 'failed').map(([index]) => index)
    const index = Math.min(...failed)
    const [outcome] = await deps.jobs.outcomes(tenant, [
      flowJobId(record, step.number, index, attemptOf(state, index)),
    ])
    const where = step.forEach === null ? '' : `element ${index}: `
    if (!outcome) return toFlowError('job_deleted', `${where}The job was deleted before it had ended.`)
    if (outcome.error === null) return toFlowError('job_cancelled', `${where}The job was cancelled.`, true)
    const { code, message, provider_status, retryable } = outcome.error
    return { code, message: `${where}${message}`, provider_status, retryable }
  }

  function complete(step: CompiledStep, state: StepState): void {
    touch(step.number)
    Object.assign(state, { phase: 'completed', finishedAt: now, waitsUntil: null })
    flow.items.delete(step.number)
    emit('step.completed', step)
    progress.steps.push('completed')
  }

  function skip(step: CompiledStep, state: StepState, reason: SkipReason): void {
    touch(step.number)
    Object.assign(state, { phase: 'skipped', reason, finishedAt: now, waitsUntil: null })
    flow.items.delete(step.number)
    emit('step.skipped', step, { reason })
    progress.steps.push('skipped')
  }

  /** What happens to a failed step, by its `on_failure`. */
  async function fail(step: CompiledStep, state: StepState, error: FlowError): Promise<Stop | null> {
    touch(step.number)
    state.error = seal(error)
    if (step.definition.on_failure === 'skip') {
      skip(step, state, 'failure')
      return null
    }
    if (step.fallback !== null) {
      const { fallback } = step
      const found = await tryTo(step, async () => {
        const context = await readContext(contextDeps, tenant, flow, [fallback])
        return fallback.fill?.(createResolver(context, defaultExpressionBounds)) ?? fallback.value
      })
      if ('value' in found) {
        const place = sealedPlaces.value(step.number)
        changes.values.set(step.number, deps.atRest.sealResult(root, id, place, { value: found.value }))
        fresh.set(step.number, found.value)
        state.hasValue = true
        complete(step, state)
        return null
      }
      error = found.error
      state.error = seal(error)
    }
    Object.assign(state, { phase: 'failed', finishedAt: now, waitsUntil: null })
    flow.items.delete(step.number)
    changes.events.push(['step.failed', `,"step":${JSON.stringify(step.name)},"error":${state.error}`])
    progress.steps.push('failed')
    const stops = compiled.definition.on_failure !== 'continue'
    return stops ? { error: { ...error, message: `step ${step.name}: ${error.message}` } } : null
  }

  /** Whether the flow has come to its end, and what it comes to. */
  async function finish(stop: Stop | null): Promise<void> {
    if (stop !== null) return end('failed', stop.error)
    if (!steps.every(isSettled)) {
      const isActive = steps.some(({ phase }) => phase === 'active')
      const isWaiting = steps.some(({ phase }) => phase === 'waiting')
      setStatus(!isActive && isWaiting ? 'waiting' : 'running')
      if (record.deadline !== null) lookAts.push(record.deadline)
      // Elements of a step that failed or was given up are of no more use.
      if (steps.some((state) => isSettled(state) && countOpen(state) > 0)) {
        await cancelOpenJobs(deps, tenant, flow, { withUnnoted: false })
        lookAts.push(now + LOOK_MS)
      }
      return
    }
    const failed = compiled.steps.find(({ number }) => steps[number]!.phase === 'failed')
    if (failed !== undefined) {
      const error = openError(steps[failed.number]!.error!)
      return end('failed', { ...error, message: `step ${failed.name}: ${error.message}` })
    }
    const output = await tryTo(null, () => readOutput())
    if ('error' in output) return end('failed', output.error)
    if (output.value !== null) {
      changes.fields.set(
        'output',
        deps.atRest.sealResult(root, id, sealedPlaces.output, { value: output.value }),
      )
    }
    end('completed', null)
  }

  /** A reference to a step that was skipped makes null of what it stands in: nothing failed, there is just no answer. */
  async function readOutput(): Promise<JsonValue> {
    const { output } = compiled
    if (output === null) return null
    const context = await readContext(contextDeps, tenant, flow, [output])
    const resolve = createResolver(context, defaultExpressionBounds)
    const fill = output.fill
    if (fill === null) return output.value
    const isSkipped = (name: string) => steps[compiled.numbers.get(name)!]!.phase === 'skipped'
    try {
      return fill((expression) => {
        const ofSkipped = [...expression.references.steps.keys()].some(isSkipped)
        return ofSkipped && expression.isWhole
          ? resolveOrNull(expression, context, defaultExpressionBounds)
          : resolve(expression)
      })
    } catch (error) {
      const isOfSkipped =
        error instanceof UnresolvedError && [...error.expression.references.steps.keys()].some(isSkipped)
      if (isOfSkipped) return null
      throw error
    }
  }

  function setStatus(status: FlowStatus): void {
    if (record.status === status) return
    record.status = status
    changes.status = status
    progress.status = status
  }

  function end(status: 'completed' | 'failed', error: FlowError | null): void {
    setStatus(status)
    if (error !== null) {
      progress.errorCode = error.code
      record.error = seal(error)
      changes.fields.set('error', record.error)
    }
    if (!steps.some((state) => countOpen(state) > 0) && status === 'completed') return
    // Jobs that have not ended, and those that a worker began and could not note.
    record.isSettling = true
    changes.fields.set('settling', '1')
    lookAts.push(now)
  }

  function write(): { changes: Changes; progress: FlowProgress } {
    for (const number of touched) {
      changes.steps.set(number, encodeStep(steps[number]!, compiled.steps[number]!.forEach !== null))
    }
    const counts = {
      total: steps.length,
      completed: steps.filter(({ phase }) => phase === 'completed').length,
      failed: steps.filter(({ phase }) => phase === 'failed').length,
      skipped: steps.filter(({ phase }) => phase === 'skipped').length,
    }
    if (JSON.stringify(counts) !== JSON.stringify(record.counts)) {
      record.counts = counts
      changes.fields.set('counts', JSON.stringify(counts))
    }
    // Of one that is over the script knows until when it is kept.
    changes.lookAt = lookAts.length === 0 ? null : Math.min(...lookAts)
    return { changes, progress }
  }
}

/** Turns what an evaluation throws into why the step failed. */
async function tryTo<Value>(
  step: CompiledStep | null,
  act: () => Promise<Value>,
): Promise<{ value: Value } | { error: FlowError }> {
  try {
    return { value: await act() }
  } catch (error) {
    const found = describeEvaluation(error, step)
    if (found === null) throw error
    return { error: found }
  }
}
