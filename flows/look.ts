import type { StoredError } from '../jobs/at-rest.ts'
import { tenantRoot } from '../jobs/keys.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { AdvanceDeps, CachedFlow } from './advance-deps.ts'
import type { CompiledStep } from './compile.ts'
import type { ContextDeps } from './context.ts'
import type { FlowError, FlowEventType, FlowStatus } from './flow.ts'
import { flowJobId } from './keys.ts'
import { attemptOf, encodeElement, encodeStep } from './state.ts'
import { type Changes, type ClaimedFlow, noChanges } from './work.ts'

/** What a look reports once it is written. */
export type FlowProgress = {
  /** The new status; null: unchanged. */
  status: FlowStatus | null
  errorCode: string | null
  steps: ('completed' | 'failed' | 'skipped')[]
}

/** The state of one look at a flow: its inputs, and the changes so far. */
export type Look = ReturnType<typeof createLook>

/** Begins a look. It collects changes; `write` returns them, and the caller writes them. */
export function createLook(deps: AdvanceDeps, claimed: ClaimedFlow, flow: CachedFlow) {
  const { tenant, id } = claimed
  const { record, compiled, steps } = flow
  const root = tenantRoot(deps.prefix, tenant)
  const changes = noChanges()
  const progress: FlowProgress = { status: null, errorCode: null, steps: [] }
  const touched = new Set<number>()
  const lookAts: number[] = []
  /** Values that this look computed and that are not written yet, by step. */
  const fresh = new Map<number, JsonValue>()
  const now = deps.now()
  const contextDeps: ContextDeps = {
    jobs: deps.jobs,
    readValue: async (step) => fresh.get(step) ?? (await deps.readValue(tenant, id, step)) ?? null,
    openError,
    mostBytes: deps.bounds().valueBytes,
  }

  return {
    ...{ deps, claimed, flow, tenant, id, root, now, contextDeps },
    ...{ changes, progress, fresh, lookAts },
    ...{ touch, noteElement, emit, emitStarted, seal, openError, write },
  }

  function touch(number: number): void {
    touched.add(number)
  }

  function noteElement(
    number: number,
    { index, element }: { index: number; element: Parameters<typeof encodeElement>[0] | null },
  ): void {
    touch(number)
    // A step without for_each stores its only element in its own field.
    if (compiled.steps[number]!.forEach === null) return
    changes.elements.set(`${number}:${index}`, element === null ? '' : encodeElement(element))
  }

  function emit(event: FlowEventType, step: CompiledStep, members: JsonObject = {}): void {
    const text = JSON.stringify({ step: step.name, ...members })
    changes.events.push([event, `,${text.slice(1, -1)}`])
  }

  /** Reports that a step begins its jobs, or begins them again after a retry. */
  function emitStarted(step: CompiledStep): void {
    const { number, forEach } = step
    const jobId =
      forEach === null ? { job_id: flowJobId(record, number, 0, attemptOf(steps[number]!, 0)) } : {}
    emit('step.started', step, jobId)
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
    // Null for a flow that is over: the script then uses the end of its retention.
    changes.lookAt = lookAts.length === 0 ? null : Math.min(...lookAts)
    return { changes, progress }
  }
}
