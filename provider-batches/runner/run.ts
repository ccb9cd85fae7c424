import { BatchApiError, type BatchView, isFullQueue } from '../providers/batch-api.ts'
import type { BatchChange } from '../store.ts'
import { claimLines } from './claim-lines.ts'
import type { BatchRun, ProviderBatchDeps } from './deps.ts'
import { sendRestOn, takeResults, WrongBatchError } from './results.ts'
import { createBatch, uploadBatch } from './send.ts'

/** After a full queue no batch is made for this many polls; after a refusal, for so long, ms. */
const FULL_POLLS = 4
const REFUSED_MS = 10 * 60_000

/** Between two looks whether a batch's jobs still need it, in polls. */
const NEEDED_POLLS = 10

/** Results that the provider does not know are asked for again for this many polls. */
const GONE_POLLS = 10

/** Of a batch whose id at the provider is not known. */
const UNKNOWN = { state: 'creating', provider_id: '', unsure: '', ready_at: 0, ready_as: '' } as const

/** Share of `leave_before` for which a cancel is waited for before its lines leave without knowing what became of it. */
const CANCEL_SHARE = 1 / 2

/** Files that the provider does not remove are asked to be removed so often, a poll apart. */
const CLEANINGS = 5

/** Lines that are asked at a time whether their jobs are over. */
const BLOCK = 500

/**
 * Runs a batch from its current state to its end:
 *
 *   claim ──> upload ──> create ──> poll ──> take results ──> clean up
 *
 * Every step may be repeated: a claim is found by its token, an upload by its name, a batch by our id, and a result ends a job once. So after
 * a worker died, the next one goes on. Resolves when the batch is over.
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

  /** The provider took nothing: the jobs go on, to wait for another batch or to their lane's queue. */
  async function giveUp(reason: string, isForLater: boolean): Promise<void> {
    deps.onEvent({ kind: 'refused', batch: run.batch, reason, isForLater })
    await store.hold(run.held, isForLater ? FULL_POLLS * run.lane.tier.poll : REFUSED_MS)
    await sendRestOn(deps, run, {
      code: isForLater ? 'provider_queue_full' : 'batch_refused',
      leaves: !isForLater,
    })
    await cleanUp(deps, run, null)
    await end('refused', reason.slice(0, 500))
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
      const fileId = await uploadBatch(deps, run)
      if ((await store.lines(run.held.lane, run.batch.id)).length === 0) {
        await run.lane.api.cleanUp({ ...run.batch, fileId }, null)
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
      const { providerId, isSure } = await createBatch(deps, run, isNewIntent)
      await change({
        state: 'in_progress',
        provider_id: providerId,
        unsure: isSure ? '' : '1',
        submitted_at: run.batch.intentAt ?? deps.now(),
      })
      deps.onEvent({ kind: 'created', batch: run.batch })
    }
  } catch (error) {
    if (!(error instanceof BatchApiError) || !error.isRefusal) throw error
    return giveUp(error.message, error.isForLater)
  }

  const { readyAs } = run.batch
  if (readyAs !== null && run.batch.isSure && (await store.lines(run.held.lane, run.batch.id)).length === 0) {
    // A worker died after its last line. The results may be removed already.
    await run.lane.api.cleanUp(run.batch, await run.lane.api.read(run.batch.providerId!))
    return end(readyAs)
  }
  /** Another's batch: ours may exist all the same, or be created again. */
  async function searchOn(): Promise<void> {
    const rejected = [...run.batch.rejected, run.batch.providerId!].join(' ')
    await change({ ...UNKNOWN, rejected })
    return runBatch(deps, run)
  }

  const view = await watch(deps, run, change)
  // Its owner has removed it.
  if (view === null && !run.batch.isSure) return searchOn()
  if (view !== null) {
    if (run.batch.readyAt === null)
      await change({ ready_at: deps.now(), ready_as: view.outcome ?? 'completed' })
    try {
      await takeResults(deps, run, view)
      if (!run.batch.isSure) await change({ unsure: '' })
    } catch (error) {
      if (!run.batch.isSure && isOfAnother(error)) return searchOn()
      const triedMs = deps.now() - (run.batch.readyAt ?? deps.now())
      // A file that was just made may not be everywhere yet.
      if (isUnknown(error) && triedMs > GONE_POLLS * run.lane.tier.poll) {
        await sendRestOn(deps, run, { code: 'results_gone', leaves: true, isAmbiguous: true })
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
  } else await sendRestOn(deps, run, { code: 'batch_lost', leaves: true, isAmbiguous: true })
  await cleanUp(deps, run, view)
  const fault = view?.fault ? `${view.fault.code}: ${view.fault.message}` : undefined
  await end(view?.outcome ?? 'lost', fault)
}

/** Has the provider remove what it keeps of a batch: requests and answers. The jobs of the batch are settled by then, so it may take its time. */
async function cleanUp(deps: ProviderBatchDeps, run: BatchRun, view: BatchView | null): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await run.lane.api.cleanUp(run.batch, view)
    } catch (error) {
      run.signal.throwIfAborted()
      if (tries === CLEANINGS) return deps.onError(error, 'cleaning up after a batch')
      await run.sleep(run.lane.tier.poll)
    }
  }
}

/** A batch of another's, or one that its owner has removed. */
function isOfAnother(error: unknown): boolean {
  return error instanceof WrongBatchError || isUnknown(error)
}

function isUnknown(error: unknown): boolean {
  return error instanceof BatchApiError && error.status === 404
}

/** Runs a batch where it is: by the source that has it. One that is not configured any more takes its batches with it. */
export async function runAtSource(deps: ProviderBatchDeps, run: BatchRun): Promise<void> {
  const { source } = run.batch
  const lane = source === null ? run.lane : run.lane.by(source)
  if (lane !== null) return runBatch(deps, Object.assign(run, { lane }))
  await sendRestOn(deps, run, { code: 'batch_lost', leaves: true, isAmbiguous: true })
  const error = `the source ${source} is not configured any more`
  await deps.store.change(run.held, run.batch.id, { state: 'ended', outcome: 'lost', error })
  deps.onEvent({ kind: 'ended', batch: { ...run.batch, state: 'ended', outcome: 'lost', error } })
}

/** Polls until the batch is over; null: the provider does not know it any more. */
async function watch(
  deps: ProviderBatchDeps,
  run: BatchRun,
  change: (change: BatchChange) => Promise<void>,
): Promise<BatchView | null> {
  const { now } = deps
  for (let polls = 1; ; polls++) {
    run.signal.throwIfAborted()
    const { api, tier } = run.lane
    const view = await api.read(run.batch.providerId!)
    if (view === null || view.phase === 'over') return view
    const { leaveAt, isSure, cancelAskedAt } = run.batch
    // A batch that may be another's is left alone.
    if (isSure && cancelAskedAt === null) {
      const isDue = leaveAt !== null && now() >= leaveAt
      if (isDue || (polls % NEEDED_POLLS === 0 && !(await isNeeded(deps, run)))) {
        await change({ state: 'cancelling', cancel_asked_at: now() })
        await api.cancel(run.batch.providerId!)
        deps.onEvent({
          kind: 'cancelling',
          batch: run.batch,
          reason: isDue ? 'deadline' : 'no_longer_needed',
        })
      }
    }
    if (leaveAt !== null && now() >= leaveAt + tier.leave_before * CANCEL_SHARE) await leaveUnknown(deps, run)
    await run.sleep(tier.poll)
  }
}

/** The provider does not end the batch in time: jobs whose deadlines are near are bought again. */
async function leaveUnknown(deps: ProviderBatchDeps, run: BatchRun): Promise<void> {
  const { leave_before } = run.lane.tier
  const isDue = (leaveAt: number | null) =>
    leaveAt !== null && deps.now() >= leaveAt + leave_before * CANCEL_SHARE
  const why = { code: 'batch_too_slow', leaves: true, isAmbiguous: true }
  await sendRestOn(deps, run, why, (line) => isDue(line.leaveAt))
}

/** Whether any job of the batch waits for it. */
async function isNeeded(deps: ProviderBatchDeps, { held, batch }: BatchRun): Promise<boolean> {
  const lines = await deps.store.lines(held.lane, batch.id)
  for (let from = 0; from < lines.length; from += BLOCK) {
    const over = await deps.areOver(lines.slice(from, from + BLOCK))
    if (over.includes(false)) return true
  }
  return false
}
