import { BatchApiError, type BatchView, isFullQueue } from '../providers/batch-api.ts'
import type { BatchChange } from '../store.ts'
import { claimLines } from './claim-lines.ts'
import type { BatchRun, ProviderBatchDeps } from './deps.ts'
import { requeueRest, takeResults, WrongBatchError } from './results.ts'
import { createBatch, UnknownBatchError, uploadBatch } from './send.ts'

/** No new batch for this many polls after a full queue, and for this long after a refusal, ms. */
const FULL_POLLS = 4
const REFUSED_MS = 10 * 60_000

/** Polls between two checks whether any job still needs the batch. */
const NEEDED_POLLS = 10

/** Polls during which a batch or results that the provider cannot find, or that are incomplete, are asked for again. */
const GONE_POLLS = 10
/** Failed runs in this process before that time counts: a worker that was away for as long has not asked yet. */
const LEAST_FAILURES = 4

/** Fields of a batch whose provider id is unknown. */
const UNKNOWN = { state: 'creating', provider_id: '', unsure: '', ready_at: 0, ready_as: '' } as const

/** Share of `leave_before` that a cancelled batch may take to end. Then its lines leave, without a known outcome. */
const CANCEL_SHARE = 1 / 2

/** Attempts to remove files from the provider, one poll apart. */
const CLEAN_UP_ATTEMPTS = 5

/** Number of jobs in one check whether they are over. */
const BLOCK = 500

/**
 * Runs a batch from its current state to its end:
 *
 *   claim ──> upload ──> create ──> poll ──> take results ──> clean up
 *
 * Every step may be repeated: a claim is found by its token, an upload by its name, a batch by our id, and a result ends a job once. So
 * after a worker died, the next one can always continue. Resolves when the batch is over.
 */
async function runBatch(deps: ProviderBatchDeps, run: BatchRun): Promise<void> {
  const { store } = deps
  let isNewIntent = false

  async function change(change: BatchChange): Promise<void> {
    await store.change(run.held, run.batch.id, change)
    run.batch = (await store.get(run.held.lane, run.batch.id)) ?? run.batch
  }

  async function end(outcome: NonNullable<BatchChange['outcome']>, error?: string): Promise<void> {
    await change({ state: 'ended', outcome, ...(error === undefined ? {} : { error }) })
    deps.onEvent({ kind: 'ended', batch: run.batch })
  }

  /** The provider accepted nothing: the jobs wait for another batch, or go to their lane's queue. */
  async function giveUp(reason: string, isForLater: boolean): Promise<void> {
    deps.onEvent({ kind: 'refused', batch: run.batch, reason, isForLater })
    await store.hold(run.held, isForLater ? FULL_POLLS * run.lane.tier.poll : REFUSED_MS)
    await requeueRest(deps, run, {
      code: isForLater ? 'provider_queue_full' : 'batch_refused',
      leaves: !isForLater,
    })
    await cleanUp(deps, run, null)
    await end('refused', reason.slice(0, 500))
  }

  /** Nobody can tell whether the provider has the batch. */
  async function lose({ message }: Error): Promise<void> {
    await requeueRest(deps, run, { code: 'batch_lost', leaves: true, isAmbiguous: true })
    await cleanUp(deps, run, null)
    await end('lost', message.slice(0, 500))
  }

  try {
    if (run.batch.state === 'gathered') {
      await claimLines(deps, run)
      if ((await store.lines(run.held.lane, run.batch.id)).length === 0) return await end('empty')
      const source = run.batch.source ?? (await run.lane.chooseSource())
      if (source !== null) run.lane = run.lane.by(source) ?? run.lane
      await change({ state: 'uploading', ...(source === null ? {} : { source }) })
    }
    if (run.batch.state === 'uploading') {
      // All may have left while the provider was away.
      const isEmpty = async () => (await store.lines(run.held.lane, run.batch.id)).length === 0
      const fileId = (await isEmpty()) ? run.batch.fileId : await uploadBatch(deps, run)
      if (await isEmpty()) {
        await cleanUp(deps, { ...run, batch: { ...run.batch, fileId } }, null)
        return await end('empty')
      }
      await change({
        state: 'creating',
        intent_at: deps.now(),
        ...(fileId === null ? {} : { file_id: fileId }),
      })
      isNewIntent = true
    }
    if (run.batch.state === 'creating') {
      const made = await createBatch(deps, run, isNewIntent)
      if (made === null) {
        await change({ state: 'uploading', intent_at: 0 })
        return await runBatch(deps, run)
      }
      await change({
        state: 'in_progress',
        provider_id: made.providerId,
        unsure: made.isSure ? '' : '1',
        submitted_at: run.batch.intentAt ?? deps.now(),
      })
      deps.onEvent({ kind: 'created', batch: run.batch })
    }
  } catch (error) {
    if (error instanceof UnknownBatchError) {
      if (!isGivenUp(run, deps.now() - (run.batch.intentAt ?? 0))) throw error
      return await lose(error)
    }
    if (!(error instanceof BatchApiError) || !error.isRefusal) throw error
    return giveUp(error.message, error.isForLater)
  }

  const { readyAs } = run.batch
  if (readyAs !== null && run.batch.isSure && (await store.lines(run.held.lane, run.batch.id)).length === 0) {
    // A worker died after the last line. The results may have been removed.
    await run.lane.api.cleanUp(run.batch, await run.lane.api.read(run.batch.providerId!))
    return end(readyAs)
  }
  /** It was another's batch. Ours may exist too, or is created again. */
  async function searchAgain(): Promise<void> {
    const rejected = [...run.batch.rejected, run.batch.providerId!].join(' ')
    await change({ ...UNKNOWN, rejected })
    return runBatch(deps, run)
  }

  const view = await watch(deps, run, change)
  // Its owner has removed it.
  if (view === null && !run.batch.isSure) return searchAgain()
  if (view !== null) {
    if (run.batch.readyAt === null)
      await change({ ready_at: deps.now(), ready_as: view.outcome ?? 'completed' })
    const isLast = isGivenUp(run, deps.now() - (run.batch.readyAt ?? deps.now()))
    try {
      await takeResults(deps, run, view, isLast)
      if (!run.batch.isSure) await change({ unsure: '' })
    } catch (error) {
      if (!run.batch.isSure && isOfAnother(error)) return searchAgain()
      // A new file may not be available everywhere yet.
      if (isUnknown(error) && isLast) {
        await requeueRest(deps, run, { code: 'results_gone', leaves: true, isAmbiguous: true })
        await cleanUp(deps, run, view)
        return end('lost', (error as Error).message.slice(0, 500))
      }
      throw error
    }
    if (isFullQueue(view.fault?.code ?? null)) {
      deps.onEvent({ kind: 'refused', batch: run.batch, reason: view.fault!.code, isForLater: true })
      await store.hold(run.held, FULL_POLLS * run.lane.tier.poll)
    }
    if (view.outcome === 'completed') {
      const { readyAt, submittedAt, createdAt } = run.batch
      await store.noteTurnaround(run.held, Math.max(0, (readyAt ?? deps.now()) - (submittedAt ?? createdAt)))
    }
  } else await requeueRest(deps, run, { code: 'batch_lost', leaves: true, isAmbiguous: true })
  await cleanUp(deps, run, view)
  const fault = view?.fault ? `${view.fault.code}: ${view.fault.message}` : undefined
  await end(view?.outcome ?? 'lost', fault)
}

/** Removes a batch's requests and answers from the provider. The batch's jobs are settled by then, so this may take time. */
async function cleanUp(deps: ProviderBatchDeps, run: BatchRun, view: BatchView | null): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await run.lane.api.cleanUp(run.batch, view)
    } catch (error) {
      run.signal.throwIfAborted()
      if (tries === CLEAN_UP_ATTEMPTS) return deps.onError(error, 'cleaning up after a batch')
      await run.sleep(run.lane.tier.poll)
    }
  }
}

/** Whether what the provider did not say in this time, ms, is asked for no more. */
function isGivenUp({ failures, lane }: BatchRun, waitedMs: number): boolean {
  return waitedMs > GONE_POLLS * lane.tier.poll && failures >= LEAST_FAILURES
}

/** Whether the batch belongs to someone else, or its owner has removed it. */
function isOfAnother(error: unknown): boolean {
  return error instanceof WrongBatchError || isUnknown(error)
}

function isUnknown(error: unknown): boolean {
  return error instanceof BatchApiError && error.status === 404
}

/** Runs a batch with the source that has it. If that source is no longer configured, its batches are lost. */
export async function runAtSource(deps: ProviderBatchDeps, run: BatchRun): Promise<void> {
  const { source } = run.batch
  const lane = source === null ? run.lane : run.lane.by(source)
  if (lane !== null) return runBatch(deps, Object.assign(run, { lane }))
  await requeueRest(deps, run, { code: 'batch_lost', leaves: true, isAmbiguous: true })
  const error = `the source ${source} is no longer configured`
  await deps.store.change(run.held, run.batch.id, { state: 'ended', outcome: 'lost', error })
  deps.onEvent({ kind: 'ended', batch: { ...run.batch, state: 'ended', outcome: 'lost', error } })
}

/** Polls until the batch is over. Null: the provider does not know it. A new batch may not be known everywhere yet. */
async function watch(
  deps: ProviderBatchDeps,
  run: BatchRun,
  change: (change: BatchChange) => Promise<void>,
): Promise<BatchView | null> {
  const { now } = deps
  let unknown = 0
  for (let polls = 1; ; polls++) {
    run.signal.throwIfAborted()
    const { api, tier } = run.lane
    const view = await api.read(run.batch.providerId!)
    if (view?.phase === 'over') return view
    unknown = view === null ? unknown + 1 : 0
    if (view === null && (!run.batch.isSure || unknown > GONE_POLLS)) return null
    const { leaveAt, isSure, cancelAskedAt } = run.batch
    // A batch that may be someone else's is not cancelled.
    if (isSure && view !== null) {
      const isDue = leaveAt !== null && now() >= leaveAt
      const isAsked = cancelAskedAt !== null
      if (!isAsked && (isDue || (polls % NEEDED_POLLS === 0 && !(await isNeeded(deps, run))))) {
        await change({ state: 'cancelling', cancel_asked_at: now() })
        const reason = isDue ? 'deadline' : 'no_longer_needed'
        deps.onEvent({ kind: 'cancelling', batch: run.batch, reason })
        await cancel(deps, run)
      } else if (isAsked && !view.isCancelling && polls % NEEDED_POLLS === 1) await cancel(deps, run)
    }
    await leaveOverdue(deps, run)
    await run.sleep(untilNextPoll(run.batch, tier, now()))
  }
}

/** Ms until the batch is looked at again: `poll`, or less where its jobs have to leave it before that. */
export function untilNextPoll(
  { leaveAt }: Pick<BatchRun['batch'], 'leaveAt'>,
  { poll, leave_before }: Pick<BatchRun['lane']['tier'], 'poll' | 'leave_before'>,
  now: number,
): number {
  if (leaveAt === null) return poll
  const ahead = [leaveAt, leaveAt + leave_before * CANCEL_SHARE].filter((at) => at > now)
  return Math.min(poll, ...ahead.map((at) => at - now))
}

/** Asks the provider to cancel the batch. If it does not, it is asked again later. */
async function cancel(deps: ProviderBatchDeps, run: BatchRun): Promise<void> {
  try {
    await run.lane.api.cancel(run.batch.providerId!)
  } catch (error) {
    run.signal.throwIfAborted()
    deps.onError(error, `cancelling provider batch ${run.batch.id}`)
  }
}

/**
 * Requeues the jobs with a near deadline if their batch cannot end in time: the provider takes too long to cancel it, or does not answer.
 * If it may have the batch, they may be billed twice.
 */
export async function leaveOverdue(deps: ProviderBatchDeps, run: BatchRun): Promise<void> {
  const { state, leaveAt } = run.batch
  if (leaveAt === null || state === 'gathered' || state === 'ended') return
  const isUnsent = state === 'uploading'
  const graceMs = isUnsent ? 0 : run.lane.tier.leave_before * CANCEL_SHARE
  const isDue = (at: number | null) => at !== null && deps.now() >= at + graceMs
  if (!isDue(leaveAt)) return
  const why = { code: 'batch_too_slow', leaves: true, isAmbiguous: !isUnsent }
  await requeueRest(deps, run, why, (line) => isDue(line.leaveAt))
}

/** Whether any job of the batch still waits for it. */
async function isNeeded(deps: ProviderBatchDeps, { held, batch }: BatchRun): Promise<boolean> {
  const lines = await deps.store.lines(held.lane, batch.id)
  for (let from = 0; from < lines.length; from += BLOCK) {
    const over = await deps.areOver(lines.slice(from, from + BLOCK))
    if (over.includes(false)) return true
  }
  return false
}
