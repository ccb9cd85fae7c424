import type { JsonObject } from '../lib/json.ts'
import type { Job, JobType } from './job.ts'

/** Which failed jobs are meant; what is not given names all. Times are Unix ms. */
export type FailedFilter = {
  group?: string
  lane?: string
  errorCode?: string
  type?: JobType
  /** Failed then or later. */
  failedAfter?: number
  /** Failed before then. */
  failedBefore?: number
}

/** Failed jobs of one lane with one error code. Times are RFC 3339. */
export type FailedGroup = {
  lane: string
  code: string
  count: number
  /** When the first and the last of them failed. */
  first_at: string
  last_at: string
  /** Whether the last of them may do better when it is tried again. */
  retryable: boolean
}

export type FailureCounts = {
  /** The most frequent first. */
  classes: FailedGroup[]
  total: number
  /** RFC 3339. */
  counted_at: string
}

/** A failed job, with what it takes to submit the same again; null where that cannot be decrypted. */
export type FailedRequest = { job: Job; create: JsonObject | null }

/**
 * `matched`: failed jobs that the filter names, up to the limit. `retried`: those of them that were queued again. `failed`: those that
 * an error kept from it, where there are any; they are failed jobs as before.
 */
export type Redriven = { matched: number; retried: number; failed?: number }

export type RedriveOptions = {
  /** At most so many, the oldest jobs first. */
  limit: number
  /** Counts and changes nothing. */
  isDryRun?: boolean
  /** Leaves out jobs with these ids. */
  except?: ReadonlySet<string>
}
