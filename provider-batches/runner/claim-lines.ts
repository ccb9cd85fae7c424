import { estimateMoney } from '../../jobs/money.ts'
import type { BatchLine } from '../batch.ts'
import type { SettledLine } from '../store.ts'
import { type BatchRun, type ProviderBatchDeps, toHeld } from './deps.ts'

/** Jobs that are claimed at a time. */
const BLOCK = 256

/**
 * Claims the jobs of a batch: from then on they are running, and no worker calls for them. Jobs that need no answer any more are removed
 * from the batch. May be repeated: a claim is found again by its token, the batch's id.
 */
export async function claimLines(deps: ProviderBatchDeps, run: BatchRun): Promise<void> {
  const { store, work } = deps
  const { held, batch, lane } = run
  const { provider, model } = lane.lane
  const estimate: Parameters<typeof work.start>[1]['estimate'] = (cost) =>
    cost.outputCap === undefined ? null : estimateMoney(lane.lane, cost)
  const intent = {
    provider,
    model,
    coalesced: 1,
    waitedFor: 'provider_batch' as const,
    tier: 'batch' as const,
    estimate,
  }
  const open = (await store.lines(held.lane, batch.id)).filter((line) => line.call === null)
  for (let from = 0; from < open.length; from += BLOCK) {
    run.signal.throwIfAborted()
    const block = open.slice(from, from + BLOCK)
    const started = await work.start(
      block.map((line) => toHeld(batch.id, line)),
      intent,
    )
    const claimed: BatchLine[] = []
    const gone: SettledLine[] = []
    for (const [at, answer] of started.entries()) {
      const line = block[at]!
      if (answer.kind === 'run') {
        const { call: number, hash, cacheMode } = answer.claimed
        claimed.push({ ...line, call: { number, hash, cacheMode } })
        continue
      }
      // The job waits for its budget or for an equal job, so it goes back to the lane's queue.
      if (answer.kind === 'wait')
        await work.leaveBatch({ tenant: line.tenant, id: line.job, entry: line.entry })
      gone.push({ index: line.index, as: answer.kind === 'wait' ? 'left' : 'dropped' })
    }
    await store.note(held, batch.id, claimed)
    await store.settle(held, batch.id, gone)
  }
}
