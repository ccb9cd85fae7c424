import type { JsonObject } from '../lib/json.ts'
import type { BudgetShortage } from './budgets.ts'
import type { Cancelled, CancelOptions, OpenFilter } from './cancel-filter.ts'
import type { FailedFilter, FailedRequest, FailureCounts, Redriven, RedriveOptions } from './failed.ts'
import type {
  Attempt,
  Delivery,
  GroupEntry,
  GroupPlace,
  GroupSummary,
  Job,
  JobEvent,
  JobStatus,
  JobType,
} from './job.ts'
import type { NewJob } from './new-job.ts'

/** Why a job is refused now. */
export type Refusal = {
  kind: 'refused'
  code:
    | 'queue_full'
    /** The job's fair key has as many open jobs as it may have. */
    | 'fair_key_full'
    | 'lanes_full'
    | 'rate_limited'
    | 'budget_exhausted'
    | 'deadline_unreachable'
    | 'memory_short'
    /** The job's flow was cancelled, has failed, or is gone. */
    | 'flow_over'
    /** What the flow spent and what its open jobs may cost would exceed `budget_usd`. */
    | 'flow_budget_exhausted'
    /** The model has no price, a budget applies, and `budgets.unknown_price` is `refuse`. */
    | 'unpriced'
  /**
   * When a new try may succeed, ms; null: that depends on other jobs. For a deadline: when the job's fair key lets it
   * start; null: the lane is the reason.
   */
  retryAfterMs: number | null
  /** The budget that has no room; absent: not known. */
  shortage?: BudgetShortage
}

/** What a submission led to. */
export type CreateOutcome =
  | { kind: 'created'; job: Job }
  /** Same idempotency key and same payload: the job that the first request created. */
  | { kind: 'replayed'; job: Job }
  /** Same idempotency key, another payload. */
  | { kind: 'conflict' }
  | Refusal

/** The short answer to a bulk submission. The record is not read back. */
export type BulkOutcome =
  | { kind: 'created' | 'replayed'; id: string; status: JobStatus }
  | { kind: 'conflict' }
  | Refusal
  /**
   * If the store did not answer, it is not known whether the job exists. Send it again with the same idempotency key to
   * find out.
   */
  | { kind: 'failed'; error: unknown }

/** The state of a job and its outcome. */
export type JobOutcome = Pick<Job, 'id' | 'status' | 'result' | 'error'>

/** A job with its request. */
export type JobRequest = {
  job: Job
  body: JsonObject
  /** See NewJob. */
  previousResponseId: string | null
  /**
   * The cursor after which the job's valid events begin; '' for a job that was never retried. Earlier events are void.
   */
  cursor: string
}

/** Which jobs a list shows. A member that is absent matches all jobs. */
export type JobFilter = {
  status?: JobStatus
  type?: JobType
  group?: string
  lane?: string
  /** The id of the schedule that made the jobs. */
  schedule?: string
  /** The model as the client named it. */
  model?: string
  errorCode?: string
  /** The job has all of these pairs. */
  metadata?: Readonly<Record<string, string>>
  /** Created at `createdAfter` or later, and before `createdBefore`, Unix ms. */
  createdAfter?: number
  createdBefore?: number
  minCostUsd?: number
}

/** One page of a list. `hasMore`: there is a next page. */
export type Page<T> = { data: T[]; hasMore: boolean }

/** The place of a job in lists: newest first, and by id within a millisecond. `createdAt`: Unix ms. */
export type JobPlace = { createdAt: number; id: string }

export type JobListOptions = {
  /** The cursor of the previous page. */
  after?: string | undefined
  /** The place after which the page begins, instead of `after`. No job need be there. */
  from?: JobPlace | undefined
  /** Most jobs to look at; absent: as many as one page may. */
  mostScanned?: number
  /** With results, the first ones first, up to 4 MB a page. */
  withResults?: boolean
  /** Ends the search when it aborts. */
  signal?: AbortSignal
}

/**
 * A page of a list. `cursor`: the job after which the next page begins; null: there is no next page. `scanned`: how
 * many jobs were looked at, if the page is not full although there is more; null otherwise. `end`: the place of the
 * cursor.
 */
export type JobPage = Page<Job> & { cursor: string | null; scanned: number | null; end: JobPlace | null }

/**
 * Everything that the API may do with jobs. Every method takes the tenant first and sees only that tenant's jobs. For a
 * job of another tenant it returns null, as for one that does not exist.
 */
export type Jobs = {
  create(job: NewJob): Promise<CreateOutcome>
  /**
   * Creates many jobs in one pipeline, and returns their outcomes in the order of the jobs. A job that fails does not
   * fail the others. Never throws.
   */
  createMany(jobs: NewJob[]): Promise<BulkOutcome[]>
  /** Models of a provider that the tenant used lately and that the configuration does not name. */
  models(tenant: string, provider: string): Promise<string[]>
  get(tenant: string, id: string): Promise<Job | null>
  /** In the order of the ids; null where there is no such job. */
  getMany(tenant: string, ids: readonly string[]): Promise<(Job | null)[]>
  /** Only the state, result and error of each job, in the order of the ids; null where there is no such job. */
  outcomes(tenant: string, ids: readonly string[]): Promise<(JobOutcome | null)[]>
  getRequest(tenant: string, id: string): Promise<JobRequest | null>
  /** Resolves with the job when it is terminal, the time is up, or the signal aborts; null: there is no such job. */
  wait(tenant: string, id: string, timeoutMs: number, signal?: AbortSignal): Promise<Job | null>
  /** Newest first, without results unless asked for; see JobListOptions. */
  list(tenant: string, filter: JobFilter, limit: number, options?: JobListOptions): Promise<JobPage>
  attempts(tenant: string, id: string): Promise<Attempt[] | null>
  cancel(tenant: string, id: string): Promise<{ kind: 'cancelled' | 'terminal'; job: Job } | null>
  /** Cancels the open jobs that match the filter, the newest first. */
  cancelMany(tenant: string, filter: OpenFilter, options: CancelOptions): Promise<Cancelled>
  retry(
    tenant: string,
    id: string,
  ): Promise<{ kind: 'retried' | 'not_retryable' | 'budget_exhausted'; job: Job } | null>
  /** Requeues the failed jobs that match the filter. */
  redrive(tenant: string, filter: FailedFilter, options: RedriveOptions): Promise<Redriven>
  /** Failed jobs by lane and error code. The count may be some seconds old. */
  failures(tenant: string): Promise<FailureCounts>
  /** Failed jobs with their requests, oldest first. They are read as you take them, until the signal aborts. */
  failed(
    tenant: string,
    filter: FailedFilter,
    limit: number,
    signal?: AbortSignal,
  ): AsyncIterable<FailedRequest>
  /** Deletes the job and everything that belongs to it. False: there is no such job. */
  remove(tenant: string, id: string): Promise<boolean>
  group(tenant: string, group: string): Promise<GroupSummary | null>
  /** Groups by their last change, newest first. `after`: the last group of the previous page. */
  groups(tenant: string, limit: number, after?: GroupPlace): Promise<Page<GroupEntry>>
  /** The states of jobs, in one read and in the order of the ids; null where there is no such job. */
  statuses(tenant: string, ids: readonly string[]): Promise<(JobStatus | null)[]>
  /** How many jobs of a group have not ended. */
  countOpen(tenant: string, group: string): Promise<number>
  /**
   * The events of a job after `cursor` ('': from the first), then live ones, until the terminal event or the signal.
   * Null if there is no such job. `{ finished: true }` if the job is terminal and nothing is left after the cursor.
   */
  follow(tenant: string, id: string, cursor: string, signal: AbortSignal): Promise<Following | null>
  /** The same for a group; it ends when every job of the group is terminal. */
  followGroup(tenant: string, group: string, cursor: string, signal: AbortSignal): Promise<Following | null>
  /**
   * Counts a request that makes no job among the submissions of its tenant. Returns the ms until there is room for it;
   * 0: it is counted.
   */
  takeSubmission(tenant: string, perMinute: number): Promise<number>
  deliveries(tenant: string, jobId: string): Promise<Delivery[] | null>
  redeliver(tenant: string, deliveryId: string): Promise<Delivery | null>
}

/** The events of a job or a group. `finished`: it has ended, and nothing is left to read. */
export type Following = { finished: boolean; events: AsyncIterable<JobEvent> }
