import type { CopyFailure } from './copy-state.ts'

/** Reads whether the database of finished jobs works, and what waits for it. Times are Unix ms, by Redis' clock. */
export type HistoryStateReader = {
  /** Combines what this process and the worker that copies see. */
  read(): Promise<HistoryState>
  /** Counts the ended jobs of these tenants that only Redis has. `since`: when the first of them began to wait; null: none waits. */
  waiting(tenants: readonly string[]): Promise<{ jobs: number; since: number | null }>
}

/**
 * `fails`: what does not work. `writes`: the database answers reads but accepts no writes. Null: all works, as far as is known.
 * `since`: when the failure began. `error`: the database's message.
 */
export type HistoryState =
  | { fails: null; since: null; error: null }
  | { fails: 'everything' | 'writes'; since: number; error: string }

/** Combines what this process sees of reads and writes with what the copying worker reported. */
export function toHistoryState(
  own: { reads: CopyFailure | null; writes: CopyFailure | null },
  copying: CopyFailure | null,
): HistoryState {
  if (own.reads !== null) return { fails: 'everything', ...own.reads }
  const writes = copying ?? own.writes
  return writes === null ? { fails: null, since: null, error: null } : { fails: 'writes', ...writes }
}

/** The state as readiness probes return it. `history_fails` is absent if all works. */
export type HistoryReadiness =
  | { history: 'available' }
  | { history: 'unavailable'; history_fails: 'everything' | 'writes' }

/** Converts a state to what readiness probes return. */
export function showReadiness({ fails }: HistoryState): HistoryReadiness {
  return fails === null ? { history: 'available' } : { history: 'unavailable', history_fails: fails }
}
