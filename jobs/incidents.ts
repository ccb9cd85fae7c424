/** What the store's scripts find out about a job while no process works on it. */
export type Incident = {
  /** `failed`: it ended without a call; `lost`: the worker of its last call is gone, and the outcome of the call is unknown. */
  kind: 'failed' | 'lost'
  tenant: string
  job: string
  lane: string
  /** Of the request that created it; null if that is not known. */
  requestId: string | null
  /** Of the error, or of the call that was lost. */
  detail: { code: string } | { attempt: number }
}
