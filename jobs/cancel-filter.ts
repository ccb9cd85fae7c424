import type { JobType } from './job.ts'

/** The states of a job that has not ended. */
export type OpenStatus = 'scheduled' | 'queued' | 'running'

/** Which open jobs are meant. A member that is absent matches all jobs. Times are Unix ms. */
export type OpenFilter = {
  status?: OpenStatus
  type?: JobType
  group?: string
  /** `provider/model`, the lane where the job is now. */
  lane?: string
  /** All lanes of this provider. */
  provider?: string
  /** The id of the schedule that made the jobs. */
  schedule?: string
  /** Created at this time or later. */
  createdAfter?: number
  /** Created before this time. */
  createdBefore?: number
}

/**
 * `matched`: open jobs that match the filter, up to the limit. `cancelled`: those that were cancelled. `failed`: jobs
 * that could not be cancelled because of an error, if there are any. They are still open.
 */
export type Cancelled = { matched: number; cancelled: number; failed?: number }

export type CancelOptions = {
  /** Most jobs to cancel. The newest are cancelled first. */
  limit: number
  /** Only counts, and changes nothing. */
  isDryRun?: boolean
}
