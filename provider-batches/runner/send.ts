import { createBreather } from '../../lib/breathe.ts'
import { type BatchLine, customIdOf, type ProviderBatch } from '../batch.ts'
import { BatchApiError, type OutgoingLine } from '../providers/batch-api.ts'
import { type BatchRun, type LineJob, type ProviderBatchDeps, toHeld } from './deps.ts'
import { failLine } from './outcomes.ts'

/** Jobs whose requests are in memory at a time. */
const BLOCK = 32

/**
 * Pause between the request to create a batch and the first search for it, ms, but at most one poll: the request may still be on its way.
 */
const SETTLE_MS = 15_000

/** Provider ids of our other batches. A search must not return these. */
async function knownIds({ store }: ProviderBatchDeps, { batch }: BatchRun): Promise<Set<string>> {
  const ids = (await store.recent(10_000)).flatMap((one) =>
    one.id !== batch.id && one.providerId !== null && one.isSure ? [one.providerId] : [],
  )
  return new Set(ids)
}

/** Reads the claimed jobs of lines again. Null for one that is over. */
export async function resumeJobs(
  { work }: Pick<ProviderBatchDeps, 'work'>,
  { id, createdAt }: Pick<ProviderBatch, 'id' | 'createdAt'>,
  lines: readonly BatchLine[],
): Promise<(LineJob | null)[]> {
  const held = lines.map((line) => toHeld(id, line))
  const started = await work.resume(held)
  const providerBatch = { id, since: createdAt }
  return started.map((answer, at) =>
    answer.kind === 'run' ? { held: held[at]!, claimed: { ...answer.claimed, providerBatch } } : null,
  )
}

/** Writes the lines for the provider. Jobs that are over, or that cannot be written, are removed from the batch. */
async function* writeLines(deps: ProviderBatchDeps, run: BatchRun): AsyncGenerator<OutgoingLine> {
  const { store } = deps
  let sent = 0
  const { held, batch, lane } = run
  const breathe = createBreather()
  const open = await store.lines(held.lane, batch.id)
  for (let from = 0; from < open.length; from += BLOCK) {
    run.signal.throwIfAborted()
    const block = open.slice(from, from + BLOCK)
    const jobs = await resumeJobs(deps, batch, block)
    for (const [at, job] of jobs.entries()) {
      const { index } = block[at]!
      if (job === null) {
        await store.settle(held, batch.id, [{ index, as: 'dropped' }])
        continue
      }
      const { body } = await deps.prepare(lane.lane, job)
      const written = await lane.lines.write({
        type: job.claimed.type,
        model: lane.tier.model ?? lane.lane.model,
        body,
      })
      if ('text' in written) {
        sent++
        yield { customId: customIdOf(batch.id, index), body: written.text }
      } else await failLine(deps, run, index, job, written)
      await breathe()
    }
  }
  // Before the end of the request: the provider can have no batch with another number of lines.
  await store.change(held, batch.id, { sent_lines: sent })
  run.batch = { ...run.batch, sentLines: sent }
}

/** Uploads the file of a batch, where its provider expects one. */
export async function uploadBatch(deps: ProviderBatchDeps, run: BatchRun): Promise<string | null> {
  const { api } = run.lane
  if (api.upload === null) return null
  // A process that died may have uploaded it.
  await api.removeUploads(run.batch)
  return api.upload(run.batch, writeLines(deps, run), run.signal)
}

/** It is unknown whether the provider has the batch, because the provider refuses to list its batches. */
export class UnknownBatchError extends Error {
  override readonly name = 'UnknownBatchError'
}

/**
 * Creates the batch at the provider. The intent is stored before the request is sent. If the outcome of an intent is unknown, the
 * provider's batches are searched for ours, and it is created again only if none is found. Throws if it is still unknown. Returns the
 * provider's id, and whether it is certainly this batch; null: it does not exist, and its file has lines whose jobs have left it.
 */
export async function createBatch(
  deps: ProviderBatchDeps,
  run: BatchRun,
  isNew: boolean,
): Promise<{ providerId: string; isSure: boolean } | null> {
  const { store, now } = deps
  const { api } = run.lane
  run.signal.throwIfAborted()
  if (!isNew) {
    const { intentAt } = run.batch
    const waitMs = (intentAt ?? 0) + Math.min(SETTLE_MS, run.lane.tier.poll) - now()
    if (waitMs > 0) await run.sleep(waitMs)
    run.signal.throwIfAborted()
    const found = await api.find(run.batch, await knownIds(deps, run)).catch((error) => {
      // The refusal says nothing about the batch.
      if (!(error instanceof BatchApiError) || !error.isRefusal) throw error
      if (error.isForLater) throw new BatchApiError(error.message, null, error.code, { cause: error })
      throw new UnknownBatchError(error.message, { cause: error })
    })
    if (found !== null) {
      deps.onEvent({ kind: 'found', batch: run.batch, providerId: found.providerId })
      return found
    }
    const { sentLines } = run.batch
    const lines = await store.lines(run.held.lane, run.batch.id)
    if (sentLines !== null && lines.length < sentLines) return null
    const again = now()
    await store.change(run.held, run.batch.id, { intent_at: again })
    run.batch = { ...run.batch, intentAt: again }
  }
  return { providerId: await api.create(run.batch, writeLines(deps, run), run.signal), isSure: true }
}
