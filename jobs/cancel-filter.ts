import type { JobType } from './job.ts'

export type OpenStatus = 'scheduled' | 'queued' | 'running'

/** Which open jobs are meant; what is not given names all. Times are Unix ms. */
export type OpenFilter = {
  status?: OpenStatus
  type?: JobType
  group?: string
  /** `provider/model`, where the job is now. */
  lane?: string
  /** All lanes of it. */
  provider?: string
  /** The id of the schedule that made them. */
  schedule?: string
  /** Created then or later. */
  createdAfter?: number
  /** Created before then. */
  createdBefore?: number
}

/**
 * `matched`: open jobs that the filter names, up to the limit. `cancelled`: those of them that were cancelled. `failed`: those looked
 * at that an error of ours kept from it, where there are any; they are open as before.
 */
export type Cancelled = { matched: number; cancelled: number; failed?: number }

export type CancelOptions = {
  /** At most so many, the newest jobs first. */
  limit: number
  /** Counts and changes nothing. */
  isDryRun?: boolean
}
