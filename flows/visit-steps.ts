import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { CompiledStep } from './compile.ts'
import { readContext } from './context.ts'
import { type CreationOutcome, createElements } from './create-jobs.ts'
import { boundValue, StepError, tryTo } from './evaluation-errors.ts'
import { type FlowError, toFlowError } from './flow.ts'
import { flowJobId, sealedPlaces } from './keys.ts'
import type { Look } from './look.ts'
import { attemptOf, countFailed, isSettled, type SkipReason, type StepState } from './state.ts'
import { createResolver, type Template } from './template.ts'

/** The flow failed during the look, so no further step begins. */
export type Stop = { error: FlowError }

/** Visits the steps of a flow, each after those that it needs: begins free steps and settles finished ones. Null: the flow goes on. */
export function visitSteps(look: Look): Promise<Stop | null> {
  const { deps, flow, tenant, id, root, now, contextDeps, changes, progress, fresh, lookAts } = look
  const { touch, noteElement, emit, emitStarted, seal } = look
  const { record, compiled, steps } = flow
  return visitAll()

  async function visitAll(): Promise<Stop | null> {
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

  /** Evaluates `when` and `for_each`, which decide whether and how often a step runs. */
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
    emitStarted(step)
    return null
  }

  async function wait(step: CompiledStep, state: StepState): Promise<Stop | null> {
    // The script that accepts a signal stores its value. Null is a value too, so only undefined means that none came.
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

  /** Creates jobs of a step, and settles the step when all have ended. */
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
    // A `when` that is one expression may have no value, which counts as false.
    const isOne = typeof when.value === 'string' && when.expressions[0]?.isWhole === true
    const resolve = createResolver(context)
    const value =
      when.fill === null ? when.value : when.fill((expression) => resolve(expression, { mayBeNull: isOne }))
    return value !== false && value !== null
  }

  function fillList(forEach: Template, context: { input: JsonValue; steps: JsonObject }): JsonValue[] {
    const value = forEach.fill?.(createResolver(context)) ?? forEach.value
    const most = deps.bounds().elements
    if (!Array.isArray(value)) throw new StepError('invalid_for_each', 'for_each: is not a list')
    if (value.length > most) {
      throw new StepError(
        'too_many_elements',
        `for_each: has ${value.length} elements, and ${most} are allowed`,
      )
    }
    return value
  }

  /** Reads why the first failed element of a step failed. */
  async function readFailure(step: CompiledStep, state: StepState): Promise<FlowError> {
    const failed = [...state.elements].filter(([, { status }]) => status === 'failed').map(([index]) => index)
    const index = Math.min(...failed)
    const [outcome] = await deps.jobs.outcomes(tenant, [
      flowJobId(record, step.number, index, attemptOf(state, index)),
    ])
    const where = step.forEach === null ? '' : `element ${index}: `
    if (!outcome) return toFlowError('job_deleted', `${where}The job was deleted before it ended.`)
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

  /** Applies a failed step's `on_failure`. */
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
        if (fallback.fill === null) return fallback.value
        const place = `steps.${step.name}.on_failure.value`
        return boundValue(fallback.fill(createResolver(context)), deps.bounds().valueBytes, place)
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
}
