/** A job's place in lists: newest first; within one millisecond by id. */
export type Place = { createdAt: number; id: string }

/** Which jobs to find. Times are Unix ms. */
export type HistoryFilter = {
  status?: string | undefined
  type?: string | undefined
  group?: string | undefined
  lane?: string | undefined
  schedule?: string | undefined
  model?: string | undefined
  errorCode?: string | undefined
  metadata?: Readonly<Record<string, string>> | undefined
  createdAfter?: number | undefined
  createdBefore?: number | undefined
  minCostUsd?: number | undefined
  finishedAfter?: number | undefined
  finishedBefore?: number | undefined
}
