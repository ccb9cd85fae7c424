import type { AttemptEnd } from '../../jobs/finish.ts'
import type { JobType } from '../../jobs/job.ts'
import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import type { Usage } from '../../lib/usage.ts'
import { priceUsage } from '../../providers/accounting.ts'
import { completeUsage, readUsage } from '../../providers/read-usage.ts'
import { type BatchLine, indexOf } from '../batch.ts'
import { type BatchView, isFullQueue, type LineResult } from '../providers/batch-api.ts'
import type { BatchRun, LineJob, ProviderBatchDeps } from './deps.ts'
import { costOfUnknown, failLine, requeueLine, settleLines, toEndedClaim } from './outcomes.ts'
import { resumeJobs } from './send.ts'

/** Results that are in memory at a time. */
const BLOCK = 32

/** The results belong to another batch. As far as is known, ours does not exist. */
export class WrongBatchError extends Error {
  override readonly name = 'WrongBatchError'
  override readonly message = 'the results are of another batch'
}

/** The provider counts more answers than its results have: a file may be cut off, or not be complete yet. */
class MissingAnswersError extends Error {
  override readonly name = 'MissingAnswersError'

  constructor(found: number, counted: number) {
    super(`the results have ${found} answers, and the provider counts ${counted}`)
  }
}

/**
 * Ends the jobs of a batch with its results, and requeues those without one. May be repeated. A name that is not ours, or has an answer
 * already, is ignored. A line may also be reported twice, as answered and as not done: the answer is paid, so it counts.
 *
 * @param isLast false: throws MissingAnswersError if answers are missing, before any job without one is requeued
 */
export async function takeResults(
  deps: ProviderBatchDeps,
  run: BatchRun,
  view: BatchView,
  isLast: boolean,
): Promise<void> {
  let { isSure } = run.batch
  let block = new Map<number, LineResult>()
  const undone = new Map<number, LineResult>()
  const answered = new Set<number>()
  const results =
    view.outcome === 'failed' && view.resultFiles.length === 0
      ? none()
      : run.lane.api.results(run.batch, view, run.signal)
  for await (const result of results) {
    const index = indexOf(run.batch.id, result.customId)
    if (!isSure && index === null && typeof result.customId === 'string') throw new WrongBatchError()
    if (index === null) continue
    isSure = true
    if (!isEnd(result)) {
      if (!undone.has(index)) undone.set(index, withShortBody(result))
      continue
    }
    if (result.status < 300) answered.add(index)
    if (!block.has(index)) block.set(index, result)
    if (block.size < BLOCK) continue
    await takeBlock(deps, run, block)
    block = new Map()
  }
  if (!isSure) throw new WrongBatchError()
  await takeBlock(deps, run, block)

  const isMissing =
    answered.size < (view.answered ?? 0) &&
    (await deps.store.lines(run.held.lane, run.batch.id)).some(({ index }) => !undone.has(index))
  if (isMissing && !isLast) throw new MissingAnswersError(answered.size, view.answered!)
  const rest = [...undone]
  for (let from = 0; from < rest.length; from += BLOCK)
    await takeBlock(deps, run, new Map(rest.slice(from, from + BLOCK)))
  const why = isMissing ? { code: 'results_incomplete', leaves: true, isAmbiguous: true } : describeRest(view)
  await requeueRest(deps, run, why)
}

async function* none(): AsyncGenerator<LineResult> {}

/** Whether a result ends its job: an answer, or an error that another try does not mend. */
function isEnd(result: LineResult): result is Answer {
  if (result.kind === 'undone') return false
  const { status } = result
  return status < 500 && status !== 408 && status !== 409 && status !== 429
}

/** Longest body of an error that is kept until the end of the results, characters. */
const MOST_KEPT = 4096

function withShortBody(result: LineResult): LineResult {
  return result.kind === 'answer' && result.body.length > MOST_KEPT ? { ...result, body: '{}' } : result
}

async function takeBlock(
  deps: ProviderBatchDeps,
  run: BatchRun,
  byIndex: ReadonlyMap<number, LineResult>,
): Promise<void> {
  run.signal.throwIfAborted()
  const { held, batch } = run
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
      // The provider may bill an answer that cannot be used.
      ...(answer.ambiguous ? costOfUnknown(run, claimed, statedUsage(result.body)) : {}),
    },
    reason: answer.code,
    at: deps.now() + (answer.feedback.retryAfterMs ?? lane.retry.base),
    countsAsAttempt: !isThrottled,
  })
}

/** The usage that an answer states; null: none. */
function statedUsage(text: string): Usage | null {
  try {
    const body: unknown = JSON.parse(text)
    return isJsonObject(body) ? readUsage(body) : null
  } catch {
    return null
  }
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
    const { usage, isEstimate } = completeUsage(type, body, answer.body, answer.usage)
    const costUsd = lane.price === null ? null : priceUsage(lane.price, usage, 'batch')
    const cost = costUsd === null ? { is_unpriced: true as const } : { cost_usd: costUsd }
    const estimated = isEstimate ? ({ usage_is_estimate: true, cost_is_estimate: true } as const) : {}
    const end: AttemptEnd = { outcome: 'completed', latency_ms: 0, status: 200, usage, ...cost, ...estimated }
    await deps.work.restore(deps.work.encode([{ claimed, end, result: answer.body, usage, costUsd }]))
    return settleLines(deps, run, [{ index: line.index, as: 'dropped', costUsd: costUsd ?? 0 }])
  }
  if (!answer.ambiguous) return requeueUndone(deps, run, line, null, answer.code)
  // The provider may bill an answer that cannot be used.
  const stated = statedUsage(result.body)
  const end: AttemptEnd = {
    outcome: 'retryable',
    latency_ms: 0,
    status: answer.status,
    error_code: answer.code,
    ...costOfUnknown(run, null, stated),
  }
  const why = { end, reason: answer.code, keepsCost: stated === null }
  return requeueLine(deps, run, line, { claimed }, why)
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
        const job = jobs[at] ?? null
        const end: AttemptEnd = {
          outcome: 'aborted',
          latency_ms: 0,
          error_code: why.code,
          ...(why.isAmbiguous ? costOfUnknown(run, job?.claimed ?? null, null) : {}),
        }
        const claimed = job?.claimed ?? toEndedClaim(run, line)
        const keepsCost = job === null && why.isAmbiguous === true
        await requeueLine(
          deps,
          run,
          line,
          { claimed },
          { end, reason: why.code, leaves: why.leaves, keepsCost },
        )
      }),
    )
  }
}
