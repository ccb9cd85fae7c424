import type { LineOutcome, LineRequest } from './line.ts'
import { countLine } from './line.ts'
import type { BatchSettings } from './options.ts'

/** A simulated batch of any of the APIs. Times are Unix ms and may lie in the future. */
export type SimulatedBatch = {
  id: string
  lines: LineRequest[]
  /** Outcomes by line; a line without one is not done. */
  outcomes: Map<number, LineOutcome>
  /** The order in which results are returned. */
  order: number[]
  tokens: number
  model: string
  createdAt: number
  validAt: number
  doneAt: number
  expiresAt: number
  cancelAt: number | null
  /** When a cancelled batch ends; null: it was not cancelled. */
  cancelledAt: number | null
  /** Why the validation failed; null: it did not fail. */
  failure: { code: string; message: string; line: number | null } | null
  endedAt: number | null
  /** Data of the API that created the batch. */
  kept: Record<string, unknown>
}

export type BatchPhase =
  | 'validating'
  | 'failed'
  | 'in_progress'
  | 'cancelling'
  | 'cancelled'
  | 'expired'
  | 'completed'

export type BatchBook = {
  create(batch: Pick<SimulatedBatch, 'id' | 'lines' | 'kept' | 'failure'>): SimulatedBatch
  get(id: string): SimulatedBatch | undefined
  remove(id: string): void
  /** Newest first. */
  list(): SimulatedBatch[]
  phase(batch: SimulatedBatch): BatchPhase
  cancel(batch: SimulatedBatch): void
  /** Ends every open batch now: completes all lines, or expires those that are not done. */
  endAll(how: 'complete' | 'expire'): void
  clear(): void
}

/**
 * Simulates batches over time. Nothing runs by itself: due lines run when a batch is read, so tests control the clock. Lines run evenly
 * spread over the turnaround. Each runs once and is billed once. After a cancel or an expiry the other lines never run.
 */
export function createBatchBook(deps: {
  settings: () => BatchSettings
  run: (line: LineRequest, batch: string) => LineOutcome
  random: () => number
  now: () => number
}): BatchBook {
  const { now } = deps
  const batches = new Map<string, SimulatedBatch>()

  function isOpen(batch: SimulatedBatch): boolean {
    return batch.endedAt === null
  }

  function queuedTokens(model: string): number {
    let sum = 0
    for (const one of batches.values()) {
      advance(one)
      if (isOpen(one) && one.model === model) sum += one.tokens
    }
    return sum
  }

  /** Runs the lines that are due. */
  function advance(batch: SimulatedBatch): void {
    if (!isOpen(batch)) return
    const time = now()
    if (time < batch.validAt) return
    if (batch.failure) {
      batch.endedAt = batch.validAt
      return
    }
    const until = Math.min(time, batch.cancelAt ?? time, batch.expiresAt)
    const span = Math.max(1, batch.doneAt - batch.validAt)
    const share = batch.doneAt <= until ? 1 : (until - batch.validAt) / span
    const count = Math.min(batch.lines.length, Math.floor(share * batch.lines.length))
    for (let index = 0; index < count; index++) {
      if (!batch.outcomes.has(index)) batch.outcomes.set(index, deps.run(batch.lines[index]!, batch.id))
    }
    if (count === batch.lines.length && batch.doneAt <= until) batch.endedAt = batch.doneAt
    else if (batch.cancelledAt !== null && batch.cancelledAt <= time) batch.endedAt = batch.cancelledAt
    else if (batch.expiresAt <= time) batch.endedAt = batch.expiresAt
  }

  return {
    create({ id, lines, kept, failure }) {
      const settings = deps.settings()
      const time = now()
      const model = lines[0]?.model ?? ''
      const tokens = lines.reduce((sum, line) => sum + countLine(line), 0)
      const { maxQueuedTokens } = settings
      const isOver = maxQueuedTokens !== null && queuedTokens(model) + tokens > maxQueuedTokens
      const tooMany = {
        code: 'token_limit_exceeded',
        message: `Enqueued token limit reached for ${model} in organization org-simulator. Limit: ${maxQueuedTokens?.toLocaleString('en')} enqueued tokens. Please try again once some in_progress batches have been completed.`,
        line: null,
      }
      const order = lines.map((_, index) => index)
      for (let index = order.length - 1; index > 0; index--) {
        const other = Math.floor(deps.random() * (index + 1))
        ;[order[index], order[other]] = [order[other]!, order[index]!]
      }
      const batch: SimulatedBatch = {
        ...{ id, lines, kept, tokens, model, order },
        outcomes: new Map(),
        createdAt: time,
        validAt: time + settings.validateMs,
        doneAt: time + settings.validateMs + settings.turnaroundMs,
        expiresAt: time + settings.expiryMs,
        cancelAt: null,
        cancelledAt: null,
        failure: failure ?? (isOver ? tooMany : null),
        endedAt: null,
      }
      batches.set(id, batch)
      return batch
    },
    get(id) {
      const batch = batches.get(id)
      if (batch) advance(batch)
      return batch
    },
    remove: (id) => void batches.delete(id),
    list() {
      for (const batch of batches.values()) advance(batch)
      return [...batches.values()].reverse()
    },
    phase(batch) {
      advance(batch)
      if (batch.endedAt === null) {
        if (batch.cancelAt !== null) return 'cancelling'
        return now() < batch.validAt ? 'validating' : 'in_progress'
      }
      if (batch.failure) return 'failed'
      if (batch.outcomes.size === batch.lines.length) return 'completed'
      return batch.cancelledAt !== null && batch.cancelledAt <= batch.expiresAt ? 'cancelled' : 'expired'
    },
    cancel(batch) {
      advance(batch)
      if (batch.endedAt !== null || batch.cancelAt !== null) return
      batch.cancelAt = now()
      batch.cancelledAt = batch.cancelAt + deps.settings().cancelMs
    },
    endAll(how) {
      for (const batch of batches.values()) {
        advance(batch)
        if (batch.endedAt !== null) continue
        batch.validAt = Math.min(batch.validAt, now())
        if (how === 'complete') batch.doneAt = now()
        else batch.expiresAt = now()
        advance(batch)
      }
    },
    clear: () => batches.clear(),
  }
}
