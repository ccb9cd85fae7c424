/** What befell a job while no process was at it, found by the store's scripts. */
export type Incident = {
  /** `failed`: it ended without a call; `lost`: the worker that made its last call is gone, and nobody knows what came of that. */
  kind: 'failed' | 'lost'
  tenant: string
  job: string
  lane: string
  /** Of the request that made it; null where that is not known. */
  requestId: string | null
  /** Of the error, or of the call that was lost. */
  detail: { code: string } | { attempt: number }
}
