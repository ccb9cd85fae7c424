import type { CopyFailure } from './copy-state.ts'

/** Whether the database of finished jobs is there, and what waits for it. Times are Unix ms, by Redis' clock. */
export type HistoryStateReader = {
  /** As this process and the worker that copies see it. */
  read(): Promise<HistoryState>
  /** Ended jobs of these tenants that only Redis has, and since when the first of them waits. */
  waiting(tenants: readonly string[]): Promise<{ jobs: number; since: number | null }>
}

/**
 * `fails`: what does not work: everything, or only `writes`, where the database answers what it has and takes nothing more; null: all
 * works, as far as is known. `since`: when it began. `error`: what the database said.
 */
export type HistoryState =
  | { fails: null; since: null; error: null }
  | { fails: 'everything' | 'writes'; since: number; error: string }

/** Puts together what this process sees of reads and writes, and what the worker that copies told. */
export function toHistoryState(
  own: { reads: CopyFailure | null; writes: CopyFailure | null },
  copying: CopyFailure | null,
): HistoryState {
  if (own.reads !== null) return { fails: 'everything', ...own.reads }
  const writes = copying ?? own.writes
  return writes === null ? { fails: null, since: null, error: null } : { fails: 'writes', ...writes }
}

/** The state as readiness probes answer it. `history_fails` is absent where all works. */
export type HistoryReadiness =
  | { history: 'available' }
  | { history: 'unavailable'; history_fails: 'everything' | 'writes' }

export function showReadiness({ fails }: HistoryState): HistoryReadiness {
  return fails === null ? { history: 'available' } : { history: 'unavailable', history_fails: fails }
}
