import type { JsonValue } from '../lib/json.ts'
import type { AdvanceDeps, CachedFlow } from './advance-deps.ts'
import { cancelOpenJobs } from './cancel-jobs.ts'
import { readContext } from './context.ts'
import { countEnding, redoElements } from './endings.ts'
import { boundValue, tryTo } from './evaluation-errors.ts'
import { type FlowError, type FlowStatus, isOver, toFlowError } from './flow.ts'
import { sealedPlaces } from './keys.ts'
import { createLook, type FlowProgress } from './look.ts'
import type { LoadedFlow } from './record.ts'
import { attemptOf, blockedStep, countOpen, decodeEnding, isSettled } from './state.ts'
import { createResolver, UnresolvedError } from './template.ts'
import { type Stop, visitSteps } from './visit-steps.ts'
import type { Changes, ClaimedFlow } from './work.ts'

/** Time between two looks while cancelled jobs have not ended yet, ms. */
const LOOK_MS = 1000

/**
 * Looks at a flow once: counts ended jobs, settles steps, begins free steps, and decides the flow's status. It changes the flow in
 * memory. The caller must write the returned changes, or drop the flow from memory.
 */
export async function lookAtFlow(
  deps: AdvanceDeps,
  claimed: ClaimedFlow,
  flow: CachedFlow,
): Promise<{ changes: Changes; progress: FlowProgress }> {
  const look = createLook(deps, claimed, flow)
  const { tenant, id, root, now, contextDeps, changes, progress, lookAts } = look
  const { touch, noteElement, emitStarted, seal, openError, write } = look
  const { record, compiled, steps } = flow

  countEndings()
  const wasOver = isOver(record.status)
  if (wasOver || record.isSettling) {
    const isSettled = await settle()
    if (wasOver || !isSettled) return write()
  }
  if (record.isRestarting) restart()
  const isLate = record.deadline !== null && now >= record.deadline
  const stop = isLate
    ? { error: toFlowError('deadline_exceeded', 'The deadline passed before the flow ended.') }
    : await visitSteps(look)
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

  /** Cancels jobs that have not ended. True: all jobs have ended. */
  async function settle(): Promise<boolean> {
    const lost = await cancelOpenJobs(deps, tenant, flow, { withUnrecorded: true })
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
    // A cancelled flow was not ended by a look. Its end is reported once, when none of its jobs runs any more.
    if (record.isSettling && record.status === 'cancelled') progress.status = 'cancelled'
    record.isSettling = false
    return true
  }

  /** Resets what failed, and what was cancelled or skipped because of it, so that it runs again. */
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
        emitStarted(compiled.steps[number]!)
      }
    }
  }

  /** Decides whether the flow has ended, and its status. */
  async function finish(stop: Stop | null): Promise<void> {
    if (stop !== null) return end('failed', stop.error)
    if (!steps.every(isSettled)) {
      const isActive = steps.some(({ phase }) => phase === 'active')
      const isWaiting = steps.some(({ phase }) => phase === 'waiting')
      setStatus(!isActive && isWaiting ? 'waiting' : 'running')
      if (record.deadline !== null) lookAts.push(record.deadline)
      // Open jobs of a step that is settled are no longer needed.
      if (steps.some((state) => isSettled(state) && countOpen(state) > 0)) {
        await cancelOpenJobs(deps, tenant, flow, { withUnrecorded: false })
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

  /** Evaluates the output. A reference to a skipped step yields null instead of an error, because nothing failed. */
  async function readOutput(): Promise<JsonValue> {
    const { output } = compiled
    if (output === null) return null
    const context = await readContext(contextDeps, tenant, flow, [output])
    const resolve = createResolver(context)
    const fill = output.fill
    if (fill === null) return output.value
    const isSkipped = (name: string) => steps[compiled.numbers.get(name)!]!.phase === 'skipped'
    try {
      const value = fill((expression) => {
        const ofSkipped = [...expression.references.steps.keys()].some(isSkipped)
        return resolve(expression, { mayBeNull: ofSkipped && expression.isWhole })
      })
      return boundValue(value, deps.bounds().valueBytes, 'output')
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
    // The next look cancels jobs that have not ended, including those that a worker began but could not record.
    record.isSettling = true
    changes.fields.set('settling', '1')
    lookAts.push(now)
  }
}
