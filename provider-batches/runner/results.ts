import type { AttemptEnd } from '../../jobs/finish.ts'
import type { JobType } from '../../jobs/job.ts'
import type { JsonObject } from '../../lib/json.ts'
import { priceUsage } from '../../providers/accounting.ts'
import { type BatchLine, indexOf } from '../batch.ts'
import { type BatchView, isFullQueue, type LineResult } from '../providers/batch-api.ts'
import type { BatchRun, LineJob, ProviderBatchDeps } from './deps.ts'
import { failLine, requeueLine, settleLines, toEndedClaim } from './outcomes.ts'
import { resumeJobs } from './send.ts'

/** Results that are in memory at a time. */
const BLOCK = 32

/** The results belong to another batch. As far as is known, ours does not exist. */
export class WrongBatchError extends Error {
  override readonly name = 'WrongBatchError'
  override readonly message = 'the results are of another batch'
}

/** Ends the jobs of a batch with its results, and requeues those without one. May be repeated. */
export async function takeResults(deps: ProviderBatchDeps, run: BatchRun, view: BatchView): Promise<void> {
  let block: LineResult[] = []
  let isSure = run.batch.isSure
  const results =
    view.outcome === 'failed' && view.resultFiles.length === 0
      ? none()
      : run.lane.api.results(run.batch, view, run.signal)
  for await (const result of results) {
    if (!isSure && indexOf(run.batch.id, result.customId) === null) throw new WrongBatchError()
    isSure = true
    block.push(result)
    if (block.length < BLOCK) continue
    await takeBlock(deps, run, block)
    block = []
  }
  if (!isSure) throw new WrongBatchError()
  await takeBlock(deps, run, block)
  await requeueRest(deps, run, describeRest(view))
}

async function* none(): AsyncGenerator<LineResult> {}

async function takeBlock(deps: ProviderBatchDeps, run: BatchRun, results: LineResult[]): Promise<void> {
  run.signal.throwIfAborted()
  const { held, batch } = run
  // A name that is not ours, or occurs twice, is ignored.
  const byIndex = new Map<number, LineResult>()
  for (const result of results) {
    const index = indexOf(batch.id, result.customId)
    if (index !== null && !byIndex.has(index)) byIndex.set(index, result)
  }
  const found = await deps.store.line(held.lane, batch.id, [...byIndex.keys()])
  const lines = found.filter((line) => line !== null)
  const jobs = await resumeJobs(deps, batch, lines)
  await Promise.all(
    lines.map((line, at) => {
      const result = byIndex.get(line.index)!
      const job = jobs[at]!
      if (result.kind === 'undone') return requeueUndone(deps, run, line, job, result.code)
      return job === null ? bookEnded(deps, run, line, result) : takeAnswer(deps, run, line, job, result)
    }),
  )
}

/** Smallest bodies that adapters accept as a request. */
const SMALLEST_BODIES: Partial<Record<JobType, JsonObject>> = {
  chat: { messages: [] },
  message: { messages: [] },
  response: { input: '' },
}

type Answer = Extract<LineResult, { kind: 'answer' }>

async function takeAnswer(
  deps: ProviderBatchDeps,
  run: BatchRun,
  line: BatchLine,
  job: LineJob,
  result: Answer,
): Promise<void> {
  const { lane, lines } = run.lane
  const { claimed } = job
  const prepared = await deps.prepare(lane, job)
  const answer = await lines.read(
    { type: claimed.type, model: lane.model, body: prepared.body },
    result.status,
    result.body,
  )
  const latencyMs = Math.max(0, deps.now() - (run.batch.submittedAt ?? deps.now()))
  if (answer.ok) {
    const end: AttemptEnd = { outcome: 'completed', latency_ms: latencyMs, status: 200 }
    const money = await prepared.deliver(answer, end)
    return settleLines(deps, run, [{ index: line.index, as: 'completed', ...money }])
  }
  if (answer.class === 'final') return failLine(deps, run, line.index, job, answer)
  const isThrottled = answer.class === 'throttled'
  if (!isThrottled && claimed.attempts >= claimed.maxAttempts)
    return failLine(deps, run, line.index, job, answer)
  return requeueLine(deps, run, line, job, {
    end: {
      outcome: isThrottled ? 'throttled' : 'retryable',
      latency_ms: latencyMs,
      status: answer.status,
      error_code: answer.code,
    },
    reason: answer.code,
    at: deps.now() + (answer.feedback.retryAfterMs ?? lane.retry.base),
    countsAsAttempt: !isThrottled,
  })
}

/**
 * Handles the answer to a job that is over because it was cancelled or answered meanwhile. Its cost is booked, and its followers get the
 * answer.
 */
async function bookEnded(
  deps: ProviderBatchDeps,
  run: BatchRun,
  line: BatchLine,
  result: Answer,
): Promise<void> {
  const { lane, lines } = run.lane
  const { type } = run.batch
  // The request is gone, and the answer is read only for its usage: any body works that the adapter accepts.
  const body: JsonObject = SMALLEST_BODIES[type] ?? {}
  const claimed = { ...toEndedClaim(run, line), body }
  const answer = await lines.read({ type, model: lane.model, body }, result.status, result.body)
  if (answer.ok) {
    const { usage } = answer
    const costUsd = usage === null ? 0 : lane.price === null ? null : priceUsage(lane.price, usage, 'batch')
    const cost = costUsd === null ? { is_unpriced: true as const } : { cost_usd: costUsd }
    const end: AttemptEnd = { outcome: 'completed', latency_ms: 0, status: 200, usage, ...cost }
    await deps.work.restore(deps.work.encode([{ claimed, end, result: answer.body, usage, costUsd }]))
    return settleLines(deps, run, [{ index: line.index, as: 'dropped', costUsd: costUsd ?? 0 }])
  }
  return requeueUndone(deps, run, line, null, answer.code)
}

/** Requeues a line that was not processed. `job` null: its job is over, but may have followers. */
async function requeueUndone(
  deps: ProviderBatchDeps,
  run: BatchRun,
  line: BatchLine,
  job: LineJob | null,
  code: string,
): Promise<void> {
  const end: AttemptEnd = { outcome: 'aborted', latency_ms: 0, error_code: code }
  return requeueLine(
    deps,
    run,
    line,
    { claimed: job?.claimed ?? toEndedClaim(run, line) },
    { end, reason: code },
  )
}

/** Why the lines without a result failed, and whether they must leave batches. */
function describeRest(view: BatchView): { code: string; leaves: boolean } {
  if (view.fault !== null) return { code: view.fault.code, leaves: !isFullQueue(view.fault.code) }
  if (view.outcome === 'expired') return { code: 'batch_expired', leaves: false }
  if (view.outcome === 'cancelled') return { code: 'batch_cancelled', leaves: false }
  return { code: 'no_result', leaves: false }
}

/** Requeues the jobs of all remaining lines. */
export async function requeueRest(
  deps: ProviderBatchDeps,
  run: BatchRun,
  why: { code: string; leaves: boolean; isAmbiguous?: boolean },
  only: (line: BatchLine) => boolean = () => true,
): Promise<void> {
  const { held, batch } = run
  const rest = (await deps.store.lines(held.lane, batch.id)).filter(only)
  for (let from = 0; from < rest.length; from += BLOCK) {
    run.signal.throwIfAborted()
    const block = rest.slice(from, from + BLOCK)
    const jobs = await resumeJobs(deps, batch, block)
    await Promise.all(
      block.map(async (line, at) => {
        const claimed = jobs[at]?.claimed ?? toEndedClaim(run, line)
        const end: AttemptEnd = {
          outcome: 'aborted',
          latency_ms: 0,
          error_code: why.code,
          ...(why.isAmbiguous ? { ambiguous: true } : {}),
        }
        await requeueLine(deps, run, line, { claimed }, { end, reason: why.code, leaves: why.leaves })
      }),
    )
  }
}
