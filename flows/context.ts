import { JobStatus } from '../jobs/job.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import type { FlowError } from './flow.ts'
import { flowJobId } from './keys.ts'
import type { LoadedFlow } from './record.ts'
import { attemptOf, countFailed } from './state.ts'
import type { Template } from './template.ts'

/** The results that expressions read exceed the bound for one evaluation. */
export class ContextTooLargeError extends Error {
  override readonly name = 'ContextTooLargeError'
}

/** The number of jobs whose results are read in one round trip. */
const BLOCK = 50

/** Dependencies for reading the context of expressions. */
export type ContextDeps = {
  jobs: Pick<Jobs, 'outcomes'>
  /** Reads the stored value of a step: its signal, or the replacement for a failed result. Null: none. */
  readValue: (step: number) => Promise<JsonValue>
  openError: (stored: string) => FlowError
  /** The most bytes of results that one evaluation may read. */
  mostBytes: number
}

/**
 * Builds the context for the expressions of some templates: the input, and the members of steps that they name. Results are read from
 * the jobs. Throws `ContextTooLargeError`.
 */
export async function readContext(
  deps: ContextDeps,
  tenant: string,
  flow: LoadedFlow,
  templates: readonly (Template | null)[],
): Promise<{ input: JsonValue; steps: JsonObject }> {
  const wanted = new Map<string, Set<string>>()
  for (const template of templates) {
    for (const { references } of template?.expressions ?? []) {
      for (const [step, members] of references.steps) {
        wanted.set(step, (wanted.get(step) ?? new Set()).union(members))
      }
    }
  }
  const steps: JsonObject = {}
  const room = { bytes: deps.mostBytes }
  for (const [name, members] of wanted) {
    steps[name] = await readStep(deps, tenant, flow, flow.compiled.numbers.get(name)!, members, room)
  }
  return { input: flow.compiled.definition.input ?? {}, steps }
}

async function readStep(
  deps: ContextDeps,
  tenant: string,
  flow: LoadedFlow,
  number: number,
  members: Set<string>,
  room: { bytes: number },
): Promise<JsonObject> {
  const state = flow.steps[number]!
  const step = flow.compiled.steps[number]!
  const isSignal = step.signalTimeoutMs !== null
  const reads = (member: string) => members.has(member) || members.has('*')
  const shown: JsonObject = {
    status: state.phase,
    error: state.error === null ? null : deps.openError(state.error),
    job_id:
      isSignal || step.forEach !== null || state.next === 0
        ? null
        : flowJobId(flow.record, number, 0, attemptOf(state, 0)),
    jobs: { total: isSignal ? 0 : (state.total ?? 0), completed: state.done, failed: countFailed(state) },
    result: null,
    signal: null,
  }
  if (state.phase !== 'completed' || !(reads('result') || reads('signal'))) return shown
  if (state.hasValue) {
    const value = await deps.readValue(number)
    shown.result = value
    if (isSignal) shown.signal = value
  } else if (!isSignal && reads('result')) {
    const results = await readResults(deps, tenant, flow, number, room)
    shown.result = step.forEach === null ? (results[0] ?? null) : results
  }
  return shown
}

/** Reads the results in the order of the elements; null for an element without a result. */
async function readResults(
  { jobs }: ContextDeps,
  tenant: string,
  flow: LoadedFlow,
  number: number,
  room: { bytes: number },
): Promise<JsonValue[]> {
  const state = flow.steps[number]!
  const total = state.total ?? 0
  const results: JsonValue[] = []
  for (let from = 0; from < total; from += BLOCK) {
    const count = Math.min(BLOCK, total - from)
    const ids = Array.from({ length: count }, (_, at) =>
      flowJobId(flow.record, number, from + at, attemptOf(state, from + at)),
    )
    for (const outcome of await jobs.outcomes(tenant, ids)) {
      const result = outcome?.status === JobStatus.completed ? outcome.result : null
      if (result !== null) room.bytes -= sourceOf(result).length
      if (room.bytes < 0) throw new ContextTooLargeError()
      results.push(result)
    }
  }
  return results
}
