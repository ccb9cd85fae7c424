import type { JsonObject } from '../lib/json.ts'
import type { Job, JobType } from './job.ts'

/** Which failed jobs are meant. A member that is absent matches all jobs. Times are Unix ms. */
export type FailedFilter = {
  group?: string
  lane?: string
  errorCode?: string
  type?: JobType
  /** Failed at this time or later. */
  failedAfter?: number
  /** Failed before this time. */
  failedBefore?: number
}

/** Failed jobs of one lane with one error code. Times are RFC 3339. */
export type FailedGroup = {
  lane: string
  code: string
  count: number
  /** When the first and the last of these jobs failed. */
  first_at: string
  last_at: string
  /** Whether the last of these jobs may succeed if it is tried again. */
  retryable: boolean
}

/** How many failed jobs a tenant has, by lane and error code. */
export type FailureCounts = {
  /** The most frequent class first. */
  classes: FailedGroup[]
  total: number
  /** RFC 3339. */
  counted_at: string
}

/** A failed job, and what to submit to run the same again; null if that cannot be decrypted. */
export type FailedRequest = { job: Job; create: JsonObject | null }

/**
 * `matched`: failed jobs that match the filter, up to the limit. `retried`: those that were queued again. `failed`:
 * jobs that could not be queued because of an error, if there are any. They are still failed jobs.
 */
export type Redriven = { matched: number; retried: number; failed?: number }

export type RedriveOptions = {
  /** Most jobs to queue again. The oldest are queued first. */
  limit: number
  /** Only counts, and changes nothing. */
  isDryRun?: boolean
  /** Leaves out jobs with these ids. */
  except?: ReadonlySet<string>
}
