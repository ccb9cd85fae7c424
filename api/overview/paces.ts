import type { Batch } from '../../batches/batch.ts'

/** How far back a batch's own pace looks, ms. */
const PACE_MS = 60_000

type BatchProgress = { at: number; done: number }

/** When batches will end, by how many of their lines ended over the last minute that they were watched. */
export function createPaces() {
  const seen = new Map<string, BatchProgress[]>()
  return {
    /** RFC 3339; null until something was seen to end. `now`: Unix ms. */
    foresee({ id, total, tally }: Pick<Batch, 'id' | 'total' | 'tally'>, now: number): string | null {
      const done = tally.completed + tally.failed
      const samples = (seen.get(id) ?? []).filter(({ at }) => at >= now - PACE_MS)
      seen.set(id, [...samples, { at: now, done }])
      const first = samples[0]
      if (first === undefined || done <= first.done) return null
      const msEach = (now - first.at) / (done - first.done)
      return new Date(now + (total - done) * msEach).toISOString()
    },
    /** Forgets all others. */
    keep(ids: readonly string[]): void {
      for (const id of seen.keys()) if (!ids.includes(id)) seen.delete(id)
    },
  }
}
