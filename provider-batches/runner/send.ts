import { createBreather } from '../../lib/breathe.ts'
import { type BatchLine, customIdOf, type ProviderBatch } from '../batch.ts'
import { BatchApiError, type OutgoingLine } from '../providers/batch-api.ts'
import { type BatchRun, type LineJob, type ProviderBatchDeps, toHeld } from './deps.ts'
import { failLine } from './outcomes.ts'

/** Jobs whose requests are in memory at a time. */
const BLOCK = 32

/** From an intent to the first look whether its batch exists, ms, and no longer than from one poll to the next: a request may still be on its way. */
const SETTLE_MS = 15_000

/** The batches of each provider that ours may not be mistaken for. */
async function knownIds({ store }: ProviderBatchDeps, { batch }: BatchRun): Promise<Set<string>> {
  const ids = (await store.recent(10_000)).flatMap((one) =>
    one.id !== batch.id && one.providerId !== null && one.isSure ? [one.providerId] : [],
  )
  return new Set(ids)
}

/** Reads the claimed jobs of lines again; null for one that is over. */
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

/** The lines as the provider takes them. Jobs that are over, and those that cannot be written, are no lines of the batch any more. */
async function* writeLines(deps: ProviderBatchDeps, run: BatchRun): AsyncGenerator<OutgoingLine> {
  const { store } = deps
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
      if ('text' in written) yield { customId: customIdOf(batch.id, index), body: written.text }
      else await failLine(deps, run, index, job, written)
      await breathe()
    }
  }
}

/** Sends the file of a batch, where its provider takes one. */
export async function uploadBatch(deps: ProviderBatchDeps, run: BatchRun): Promise<string | null> {
  const { api } = run.lane
  if (api.upload === null) return null
  // A process that died may have sent it.
  await api.removeUploads(run.batch)
  return api.upload(run.batch, writeLines(deps, run), run.signal)
}

/**
 * Creates the batch at the provider. Before it is asked, the intent is written; if it is not known what became of an intent, the provider's
 * batches are searched for ours, and only where there is none it is created again. Answers the provider's id, and whether that is surely it.
 */
export async function createBatch(
  deps: ProviderBatchDeps,
  run: BatchRun,
  isNew: boolean,
): Promise<{ providerId: string; isSure: boolean }> {
  const { store, now } = deps
  const { api } = run.lane
  for (let isFirst = isNew; ; isFirst = false) {
    run.signal.throwIfAborted()
    if (!isFirst) {
      const { intentAt } = run.batch
      const waitMs = (intentAt ?? 0) + Math.min(SETTLE_MS, run.lane.tier.poll) - now()
      if (waitMs > 0) await run.sleep(waitMs)
      run.signal.throwIfAborted()
      const found = await api.find(run.batch, await knownIds(deps, run))
      if (found !== null) {
        deps.onEvent({ kind: 'found', batch: run.batch, providerId: found.providerId })
        return found
      }
      const again = now()
      await store.change(run.held, run.batch.id, { intent_at: again })
      run.batch = { ...run.batch, intentAt: again }
    }
    try {
      return { providerId: await api.create(run.batch, writeLines(deps, run), run.signal), isSure: true }
    } catch (error) {
      if (!(error instanceof BatchApiError) || error.isRefusal) throw error
      deps.onError(error, `creating batch ${run.batch.id}`)
    }
  }
}
