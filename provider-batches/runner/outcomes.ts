import type { Claimed } from '../../jobs/claim.ts'
import type { AttemptEnd } from '../../jobs/finish.ts'
import type { Retry } from '../../jobs/work.ts'
import type { ProviderFailure } from '../../providers/provider.ts'
import type { BatchLine } from '../batch.ts'
import type { SettledLine } from '../store.ts'
import type { BatchRun, LineJob, ProviderBatchDeps } from './deps.ts'

/** A line that was not done so often goes the way of calls. */
const MOST_UNDONE = 2

/** Counts lines whose jobs went on. */
export async function settleLines(
  { store, onEvent }: Pick<ProviderBatchDeps, 'store' | 'onEvent'>,
  { held, batch }: BatchRun,
  lines: readonly SettledLine[],
): Promise<void> {
  await store.settle(held, batch.id, lines)
  for (const { as, savedUsd = 0 } of lines) onEvent({ kind: 'line', lane: batch.lane, as, savedUsd })
}

/** Ends a job whose line the provider, or its adapter, refused: asking again cannot help. */
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
 * Sends a job on whose line brought no answer: to the next batch, or, where its deadline is near or batches did not do it before, to its
 * lane's queue. There it goes as any job, and fails by name if its deadline is over.
 */
export async function sendOn(
  deps: ProviderBatchDeps,
  run: BatchRun,
  line: BatchLine,
  { claimed }: { claimed: Omit<Claimed, 'body'> },
  why: { end: AttemptEnd; reason: string; at?: number; countsAsAttempt?: boolean; leaves?: boolean },
): Promise<void> {
  const now = deps.now()
  // It would leave the next batch before that is made.
  const isDue = line.leaveAt !== null && (why.at ?? now) + run.lane.tier.gather >= line.leaveAt
  const leavesBatch = why.leaves === true || isDue || claimed.call >= MOST_UNDONE
  const next: Retry = {
    lane: run.lane.lane.id,
    at: why.at ?? now,
    countsAsAttempt: why.countsAsAttempt ?? false,
    reason: why.reason,
    waitingFor: 'retry_delay',
    ...(leavesBatch ? { leaves: 'gather' } : {}),
  }
  await deps.work.requeue(claimed, why.end, next)
  await settleLines(deps, run, [{ index: line.index, as: 'left' }])
}

/** What is known of a job that is over, but whose call is still to be booked, or has followers. */
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
