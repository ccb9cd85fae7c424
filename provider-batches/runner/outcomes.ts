import type { Claimed } from '../../jobs/claim.ts'
import type { AttemptEnd } from '../../jobs/finish.ts'
import type { Retry } from '../../jobs/work.ts'
import type { Usage } from '../../lib/usage.ts'
import { priceUsage } from '../../providers/accounting.ts'
import type { ProviderFailure } from '../../providers/provider.ts'
import type { BatchLine } from '../batch.ts'
import type { SettledLine } from '../store.ts'
import type { BatchRun, LineJob, ProviderBatchDeps } from './deps.ts'

/** After so many batches that did not process it, a job goes to its lane's queue. */
const MAX_UNDONE = 2

/** Counts lines whose jobs have ended or gone on. */
export async function settleLines(
  { store, onEvent }: Pick<ProviderBatchDeps, 'store' | 'onEvent'>,
  { held, batch }: BatchRun,
  lines: readonly SettledLine[],
): Promise<void> {
  await store.settle(held, batch.id, lines)
  for (const { as, savedUsd = 0 } of lines) onEvent({ kind: 'line', lane: batch.lane, as, savedUsd })
}

/** Fails a job whose line the provider or its adapter refused: a retry cannot help. */
export async function failLine(
  deps: ProviderBatchDeps,
  run: BatchRun,
  index: number,
  { claimed }: LineJob,
  failure: ProviderFailure,
): Promise<void> {
  const { code, message, status, providerError } = failure
  const end: AttemptEnd = { outcome: 'failed', latency_ms: 0, status, error_code: code }
  const error = { code, message, provider_status: status, retryable: failure.class !== 'final' }
  await deps.work.fail(
    claimed,
    end,
    providerError ? { ...error, provider_error: providerError } : error,
    false,
  )
  await settleLines(deps, run, [{ index, as: 'failed' }])
}

/**
 * Requeues a job whose line brought no answer: for the next batch, or for its lane's queue where its deadline is near or batches failed it
 * before. In the queue it is an ordinary job, and fails with `deadline_exceeded` if its deadline has passed.
 */
export async function requeueLine(
  deps: ProviderBatchDeps,
  run: BatchRun,
  line: BatchLine,
  { claimed }: { claimed: Omit<Claimed, 'body'> },
  why: {
    end: AttemptEnd
    reason: string
    at?: number
    countsAsAttempt?: boolean
    leaves?: boolean
    keepsCost?: boolean
  },
): Promise<void> {
  const now = deps.now()
  // The job would have to leave before the next batch is made.
  const isDue = line.leaveAt !== null && (why.at ?? now) + run.lane.tier.gather >= line.leaveAt
  const leavesBatch = why.leaves === true || isDue || claimed.call >= MAX_UNDONE
  const next: Retry = {
    lane: run.lane.lane.id,
    at: why.at ?? now,
    countsAsAttempt: why.countsAsAttempt ?? false,
    reason: why.reason,
    waitingFor: 'retry_delay',
    ...(leavesBatch ? { leaves: 'gather' } : {}),
    ...(why.keepsCost ? { keepsCost: true } : {}),
  }
  await deps.work.requeue(claimed, why.end, next)
  await settleLines(deps, run, [{ index: line.index, as: 'left' }])
}

/**
 * The end of a line that the provider may bill, although its answer is lost: it costs the usage that was stated, else what was reserved,
 * at the price of batches.
 *
 * @param claimed null: the job is over. What was reserved was booked then, and stays (`keepsCost`).
 */
export function costOfUnknown(
  { lane: { lane } }: BatchRun,
  claimed: Pick<Claimed, 'reservedUsd'> | null,
  stated: Usage | null,
): Pick<AttemptEnd, 'ambiguous' | 'usage' | 'cost_usd' | 'cost_is_estimate' | 'is_unpriced'> {
  const { price } = lane
  if (price === null) return { ambiguous: true, is_unpriced: true }
  if (claimed === null && stated === null) return { ambiguous: true }
  const reserved = (claimed?.reservedUsd ?? 0) * (price.tiers?.batch ?? 1)
  const cost_usd = stated === null ? reserved : priceUsage(price, stated, 'batch')
  const usage = stated === null ? {} : { usage: stated }
  return { ambiguous: true, ...usage, cost_usd, cost_is_estimate: true }
}

/** The claim of a job that is over, but whose call must still be booked or whose followers need the answer. */
export function toEndedClaim(run: BatchRun, line: BatchLine): Omit<Claimed, 'body'> {
  const { lane } = run
  return {
    tenant: line.tenant,
    id: line.job,
    lane: lane.lane.id,
    call: line.call?.number ?? 0,
    attempts: 1,
    maxAttempts: 1,
    waitedMs: 0,
    firstStartedAt: 0,
    timeoutMs: 0,
    type: run.batch.type,
    model: lane.lane.id,
    unfitLanes: [],
    hash: line.call?.hash ?? '',
    cacheMode: line.call?.cacheMode ?? 'off',
    isShownLive: false,
    requestId: null,
    trace: null,
    cost: { tokens: 0, inputTokens: 0, outputTokens: 0, inputs: 1, coalesceKey: null },
    reservedUsd: null,
  }
}
