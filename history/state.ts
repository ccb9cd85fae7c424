/** Whether the database of finished jobs is there, and what waits for it. Times are Unix ms, by Redis' clock. */
export type HistoryStateReader = {
  /** As this process sees it. `since`: when it stopped to answer; null: it answers, or was not asked yet. */
  read(): { isUp: boolean; since: number | null }
  /** Ended jobs of these tenants that only Redis has, and since when the first of them waits. */
  waiting(tenants: readonly string[]): Promise<{ jobs: number; since: number | null }>
}
