import type { Batch } from '../../batches/batch.ts'

/** How far back the pace of a batch is measured, ms. */
const PACE_MS = 60_000

type BatchProgress = { at: number; done: number }

/** Forecasts when batches will end, from the lines that ended in the last watched minute. */
export function createPaces() {
  const seen = new Map<string, BatchProgress[]>()
  return {
    /** RFC 3339; null until a line was seen to end. `now`: Unix ms. */
    forecastEnd({ id, total, tally }: Pick<Batch, 'id' | 'total' | 'tally'>, now: number): string | null {
      const done = tally.completed + tally.failed
      const samples = (seen.get(id) ?? []).filter(({ at }) => at >= now - PACE_MS)
      seen.set(id, [...samples, { at: now, done }])
      const first = samples[0]
      if (first === undefined || done <= first.done) return null
      const msEach = (now - first.at) / (done - first.done)
      return new Date(now + (total - done) * msEach).toISOString()
    },
    /** Forgets all other batches. */
    keep(ids: readonly string[]): void {
      for (const id of seen.keys()) if (!ids.includes(id)) seen.delete(id)
    },
  }
}
