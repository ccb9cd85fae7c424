/** What scripts find out about a job while no worker has it. */
export type Incident = {
  /**
   * `failed`: the job ended without a call. `lost`: the worker of its last call is gone, and the outcome of that call
   * is unknown.
   */
  kind: 'failed' | 'lost'
  tenant: string
  job: string
  lane: string
  /** The id of the request that created the job; null if it is not known. */
  requestId: string | null
  /** The code of the error, or the number of the lost call. */
  detail: { code: string } | { attempt: number }
}
