import type { AtRest, StoredError } from '../jobs/at-rest.ts'
import { type Job, JobStatus } from '../jobs/job.ts'
import type { Jobs } from '../jobs/jobs.ts'
import { createBreather } from '../lib/breathe.ts'
import type { JsonValue } from '../lib/json.ts'
import { sourceOf } from '../lib/json-source.ts'
import type { RedisClient } from '../lib/redis.ts'
import { UnreadableError } from '../lib/sealer.ts'
import type { CompiledStep } from './compile.ts'
import { type FlowError, isOver, type StepStatus } from './flow.ts'
import { flowJobId, flowKey, sealedPlaces } from './keys.ts'
import type { LoadedFlow } from './record.ts'
import { attemptOf, countFailed, countOpen, type StepState } from './state.ts'
import { type FlowSummary, showSummary, showTime } from './summary.ts'

/** A step as clients see it. Times are RFC 3339 UTC with milliseconds. */
export type StepView = {
  status: StepStatus
  needs: string[]
  jobs: { total: number; completed: number; failed: number }
  /** The job of a step that has only one; null for other steps. */
  job_id: string | null
  result: JsonValue
  /** The result is too large for this answer; `result_url` returns it. */
  result_omitted?: true
  result_url?: string
  signal: JsonValue
  error: FlowError | null
  started_at: string | null
  finished_at: string | null
}

/** A flow as clients see it. */
export type FlowView = Omit<FlowSummary, never> & { steps: Record<string, StepView>; output: JsonValue }

/** Jobs of a step in the order of its elements; null: the element has no job yet, or it is gone. */
export type FlowStepJobs = { jobs: (Job | null)[]; total: number }

/** Bounds in bytes of JSON. A result over the first is left out, and so is one that takes the flow's results over the second. */
const RESULT_BYTES = 64 * 1024
const ALL_RESULT_BYTES = 4 * 1024 * 1024

/** Jobs read in one round trip, and the most open jobs of a step that are checked to see whether one runs. */
const BLOCK = 25
const SAMPLE = 100

/** Shows flows to clients. A result that cannot be decrypted is shown as null. */
export type FlowViewer = {
  show(tenant: string, root: string, flow: LoadedFlow): Promise<FlowView>
  showStepJobs(
    tenant: string,
    flow: LoadedFlow,
    step: number,
    page: { from: number; limit: number },
  ): Promise<FlowStepJobs>
}

/** Creates the viewer of flows. */
export function createFlowView(deps: {
  redis: RedisClient
  atRest: AtRest
  jobs: Pick<Jobs, 'outcomes' | 'statuses' | 'getMany'>
}): FlowViewer {
  const { redis, atRest, jobs } = deps

  async function show(tenant: string, root: string, flow: LoadedFlow): Promise<FlowView> {
    const { record, compiled, steps } = flow
    const openError = (stored: string): FlowError => {
      const { code, message, provider_status, retryable } = atRest.openError(
        root,
        JSON.parse(stored) as StoredError,
      )
      return { code, message, provider_status, retryable }
    }
    const openValue = (place: string, stored: Buffer): JsonValue => {
      try {
        return atRest.openResult(root, record.id, place, stored).value ?? null
      } catch (error) {
        if (!(error instanceof UnreadableError)) throw error
        atRest.onUnreadable(error, record.id)
        return null
      }
    }
    const running = await findRunning(tenant, flow)
    const values = await redis.hgetallBuffer(`${flowKey(root, record.id)}:values`)
    const breathe = createBreather()
    let left = ALL_RESULT_BYTES
    const shown: Record<string, StepView> = {}
    for (const [number, step] of compiled.steps.entries()) {
      const state = steps[number]!
      const stored = values[String(number)]
      const value = stored === undefined ? null : openValue(sealedPlaces.value(number), stored)
      const isSignal = step.signalTimeoutMs !== null
      const found =
        isSignal || state.hasValue ? { value, bytes: 0 } : await readResult(tenant, flow, number, left)
      if (found !== null) left -= found.bytes
      shown[step.name] = {
        status: statusOf(state, step, running.has(number), isOver(record.status)),
        needs: step.needs.map((need) => compiled.steps[need]!.name),
        jobs: { total: isSignal ? 0 : (state.total ?? 0), completed: state.done, failed: countFailed(state) },
        job_id: isSignal || step.forEach !== null || state.next === 0 ? null : jobIdOf(flow, number, 0),
        result: isSignal && !state.hasValue ? null : (found?.value ?? null),
        ...(found === null ? omission(flow, step) : {}),
        signal: isSignal ? value : null,
        error: state.error === null ? null : openError(state.error),
        started_at: showTime(state.startedAt),
        finished_at: showTime(state.finishedAt),
      }
      await breathe()
    }
    return {
      ...showSummary(record, openError),
      steps: shown,
      output: record.output === null ? null : openValue(sealedPlaces.output, record.output),
    }
  }

  /** Finds active steps of which at least one job has begun or ended. */
  async function findRunning(tenant: string, flow: LoadedFlow): Promise<Set<number>> {
    const running = new Set<number>()
    const asked: { number: number; id: string }[] = []
    if (isOver(flow.record.status)) return running
    for (const [number, state] of flow.steps.entries()) {
      if (state.phase !== 'active') continue
      if (state.done + countFailed(state) > 0) running.add(number)
      else
        for (const index of listOpen(state, SAMPLE)) asked.push({ number, id: jobIdOf(flow, number, index) })
    }
    const statuses = await jobs.statuses(
      tenant,
      asked.map(({ id }) => id),
    )
    for (const [at, { number }] of asked.entries()) {
      if (statuses[at] !== null && statuses[at] !== JobStatus.queued && statuses[at] !== JobStatus.scheduled)
        running.add(number)
    }
    return running
  }

  /** Reads the result of a completed step; null: it is too large for this answer. */
  async function readResult(
    tenant: string,
    flow: LoadedFlow,
    number: number,
    left: number,
  ): Promise<{ value: JsonValue; bytes: number } | null> {
    const state = flow.steps[number]!
    const isList = flow.compiled.steps[number]!.forEach !== null
    if (state.phase !== 'completed') return { value: null, bytes: 0 }
    const results: JsonValue[] = []
    let bytes = 0
    const total = state.total ?? 0
    for (let from = 0; from < total; from += BLOCK) {
      const indexes = Array.from({ length: Math.min(BLOCK, total - from) }, (_, at) => from + at)
      const outcomes = await jobs.outcomes(
        tenant,
        indexes.map((index) => jobIdOf(flow, number, index)),
      )
      for (const outcome of outcomes) {
        const result = outcome?.status === JobStatus.completed ? outcome.result : null
        bytes += result === null ? 4 : Buffer.byteLength(sourceOf(result))
        results.push(result)
      }
      if (bytes > RESULT_BYTES || bytes > left) return null
    }
    return { value: isList ? results : (results[0] ?? null), bytes }
  }

  async function showStepJobs(
    tenant: string,
    flow: LoadedFlow,
    number: number,
    { from, limit }: { from: number; limit: number },
  ): Promise<FlowStepJobs> {
    const state = flow.steps[number]!
    const isSignal = flow.compiled.steps[number]!.signalTimeoutMs !== null
    const total = isSignal ? 0 : (state.total ?? 0)
    const indexes = Array.from({ length: Math.max(0, Math.min(limit, total - from)) }, (_, at) => from + at)
    const found = await jobs.getMany(
      tenant,
      indexes.map((index) => jobIdOf(flow, number, index)),
    )
    return { jobs: found, total }
  }

  return { show, showStepJobs }
}

function jobIdOf({ record, steps }: Pick<LoadedFlow, 'record' | 'steps'>, step: number, element: number) {
  return flowJobId(record, step, element, attemptOf(steps[step]!, element))
}

/** The members that say where an omitted result is: at its job, or at the jobs of all elements. */
function omission(flow: LoadedFlow, step: CompiledStep) {
  const path =
    step.forEach === null
      ? `/v1/jobs/${jobIdOf(flow, step.number, 0)}`
      : `/v1/flows/${flow.record.id}/steps/${step.name}/jobs`
  return { result_omitted: true as const, result_url: path }
}

/** Lists elements that may be open, the latest first, at most `most`. */
function listOpen(state: StepState, most: number): number[] {
  const open: number[] = []
  if (countOpen(state) === 0) return open
  for (let index = state.next - 1; index >= 0 && open.length < most; index--) {
    const status = state.elements.get(index)?.status
    if (status === undefined || status === 'open') open.push(index)
  }
  return open
}

/** A step's status as clients see it. A step that had not ended when its flow ended counts as cancelled. */
function statusOf(state: StepState, step: CompiledStep, isRunning: boolean, isFlowOver: boolean): StepStatus {
  switch (state.phase) {
    case 'completed':
    case 'failed':
    case 'skipped':
      return state.phase
    case 'active':
      if (isFlowOver) return 'cancelled'
      return isRunning ? 'running' : 'queued'
    default:
      return isFlowOver
        ? 'cancelled'
        : state.phase === 'waiting' && step.signalTimeoutMs !== null
          ? 'waiting'
          : 'blocked'
  }
}
