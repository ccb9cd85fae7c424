import type { JsonObject } from '../lib/json.ts'
import type { FailedFilter, FailedRequest, FailureCounts, Redriven, RedriveOptions } from './failed.ts'
import type {
  Attempt,
  CacheMode,
  Delivery,
  GroupEntry,
  GroupPlace,
  GroupSummary,
  Job,
  JobEvent,
  JobStatus,
  JobType,
  Priority,
  WebhookTarget,
} from './job.ts'

/** A validated request for a job, with everything decided that needs the configuration. */
export type NewJob = {
  tenant: string
  /** Given where whoever hands it in knows it by an id already: the job that has it is answered. Absent: a new one. */
  id?: string
  /** The step of a durable run that it belongs to. */
  durable?: DurableStep
  /** The flow that it belongs to. */
  flow?: JobFlow
  type: JobType
  /** As the client named it: `provider/model` or an alias. */
  model: string
  /** The lane that serves it: `provider/model`. */
  lane: string
  body: JsonObject
  priority: Priority
  /** Unix milliseconds; null: at once. What has passed by Redis' clock is at once. */
  runAt: number | null
  /** Not before so many ms from its creation, by Redis' clock; with it `runAt` is null. */
  delayMs?: number
  deadline: number | null
  timeoutMs: number
  maxAttempts: number
  cache: CacheMode
  /** As the client asked for it, which tells a repeated request from another; `cache` may be narrower by now. */
  askedCache?: CacheMode
  webhook: WebhookTarget | null
  group: string | null
  metadata: Record<string, string>
  idempotencyKey: string | null
  /**
   * True: a client is shown the chunks as they come, so an attempt that fails after the first of them ends the job:
   * another one would say something else.
   */
  isShownLive?: boolean
  /**
   * True: a client holds its connection for the answer. Nobody asks when the job will start, and an idle worker gets it
   * without its way through the queue.
   */
  isAwaited?: boolean
  /** Lanes of the model's route that cannot serve this request: it never goes there. */
  unfitLanes?: string[]
  /** By lane: members of the body that its provider has no counterpart for and leaves out. */
  dropped?: Record<string, string[]>
  /** The `previous_response_id` as the client gave it, where the body has another. */
  previousResponseId?: string
  /** Digest of the request as it came, to tell a repeated one from another under the same key. */
  fingerprint?: string
  /** Of the HTTP request that made it. */
  requestId?: string
  /** The W3C `traceparent` under which it was made: what is done for the job belongs to that trace. */
  trace?: string
  /** What the job will cost its lane. */
  cost: JobCost
  /** What the job is expected to cost, USD; without its output where `openOutput` says more of that. */
  estimateUsd: number
  /** Output without a cap: how much of it is to be expected is learned from what answers had. */
  openOutput?: OpenOutput
  /** When a call for it would leave at the earliest, Unix ms; only asked for where there is a deadline. */
  earliestStart?: number | null
  limits: TenantLimits
  /** Where the configuration does not name its model: how many such models of the provider the tenant may use at a time. */
  maxLanes?: number
}

/** A step of a durable run; `run` is what stands for its id in keys. */
export type DurableStep = { run: string; id: string; step: string }

/** Which job of which flow. `step` and `element` count from 0, `attempt` from 1. */
export type JobFlow = {
  id: string
  step: number
  /** Of the step. */
  name: string
  element: number
  attempt: number
  /** Whether what it is expected to cost counts against a budget of the flow. */
  hasBudget: boolean
}

/** What the output of a request without a cap costs. */
export type OpenOutput = {
  usdPerToken: number
  /** Tokens to expect of each choice before any are known, and the most that there can be; null: any. */
  unlearned: number
  most: number | null
  choices: number
}

/** What the tenant may do, as the configuration stands at the submission. */
export type TenantLimits = {
  /** Open (scheduled, queued, running) jobs. */
  maxQueued: number
  /** Submissions a minute; null: no limit. */
  requestsPerMinute: number | null
  /** USD a UTC day; null: no limit. */
  budgetUsdPerDay: number | null
}

/** Why a job is not let in now. */
export type Refusal = {
  kind: 'refused'
  code:
    | 'queue_full'
    | 'lanes_full'
    | 'rate_limited'
    | 'budget_exhausted'
    | 'deadline_unreachable'
    | 'memory_short'
    /** Its flow is cancelled, failed or gone. */
    | 'flow_over'
    /** What its flow spent, and its open jobs, would come to more than `budget_usd`. */
    | 'flow_budget_exhausted'
  /** When asking again may help; null where it depends on other jobs. */
  retryAfterMs: number | null
}

/** What one job takes from its lane, known before it is fetched. */
export type JobCost = {
  /** Estimated tokens as the provider counts them against its limit. */
  tokens: number
  /** Of these, input and output, for providers that limit them apart. */
  inputTokens: number
  outputTokens: number
  /** Inputs of an embedding job; 1 for others. */
  inputs: number
  /** Jobs with the same key may share one provider request; null: travels alone. */
  coalesceKey: string | null
  /** Output tokens that each choice of the answer may have; null: the request sets no cap. Absent: as `outputTokens`. */
  outputCap?: number | null
  /** Answers asked for; absent: one. */
  choices?: number
}

export type CreateOutcome =
  | { kind: 'created'; job: Job }
  /** Same idempotency key, same payload: the job that the first request made. */
  | { kind: 'replayed'; job: Job }
  /** Same idempotency key, another payload. */
  | { kind: 'conflict' }
  | Refusal

/** A short answer for bulk submissions: the record is not read back. */
export type BulkOutcome =
  | { kind: 'created' | 'replayed'; id: string; status: JobStatus }
  | { kind: 'conflict' }
  | Refusal
  /** Whether the job exists is not known where the store did not answer; its idempotency key tells when it comes again. */
  | { kind: 'failed'; error: unknown }

/** How a job stands, and what it came to. */
export type JobOutcome = Pick<Job, 'id' | 'status' | 'result' | 'error'>

/** A job with what it was asked for. */
export type JobRequest = {
  job: Job
  body: JsonObject
  /** See NewJob. */
  previousResponseId: string | null
  /** Where its events begin anew: '' for a job that was never retried. Events before it are void. */
  cursor: string
}

export type JobFilter = {
  status?: JobStatus
  type?: JobType
  group?: string
  lane?: string
  /** The id of the schedule that made them. */
  schedule?: string
}

export type Page<T> = { data: T[]; hasMore: boolean }

export type JobListOptions = {
  /** The cursor of the page before. */
  after?: string | undefined
  /** With results, the first ones first, up to 4 MB a page. */
  withResults?: boolean
  /** Ends the search for what a filter names. */
  signal?: AbortSignal
}

/**
 * `cursor`: behind which job the next page begins; null: there is nothing. `scanned`: where the page is not full though there is more, how
 * many jobs were looked at for it, which is the most that one page looks at; null otherwise.
 */
export type JobPage = Page<Job> & { cursor: string | null; scanned: number | null }

/**
 * Everything that the API may do with jobs. Every method takes the tenant first and sees that tenant's jobs
 * alone; a job of another tenant is null, as is one that does not exist.
 */
export type Jobs = {
  create(job: NewJob): Promise<CreateOutcome>
  /** Creates many in one pipeline; outcomes stand in the order of the jobs. What fails one of them is its outcome alone; never throws. */
  createMany(jobs: NewJob[]): Promise<BulkOutcome[]>
  /** Models of a provider that the tenant used lately, though the configuration does not name them. */
  models(tenant: string, provider: string): Promise<string[]>
  get(tenant: string, id: string): Promise<Job | null>
  /** In the order of the ids. */
  getMany(tenant: string, ids: readonly string[]): Promise<(Job | null)[]>
  /** How jobs ended, in the order of the ids: their results and errors without what else there is of them. */
  outcomes(tenant: string, ids: readonly string[]): Promise<(JobOutcome | null)[]>
  getRequest(tenant: string, id: string): Promise<JobRequest | null>
  /** Resolves when the job is terminal, the time is up, or the signal aborts; the job as it then stands. */
  wait(tenant: string, id: string, timeoutMs: number, signal?: AbortSignal): Promise<Job | null>
  /** Newest first, without results unless asked for; see JobListOptions. */
  list(tenant: string, filter: JobFilter, limit: number, options?: JobListOptions): Promise<JobPage>
  attempts(tenant: string, id: string): Promise<Attempt[] | null>
  cancel(tenant: string, id: string): Promise<{ kind: 'cancelled' | 'terminal'; job: Job } | null>
  retry(tenant: string, id: string): Promise<{ kind: 'retried' | 'not_retryable'; job: Job } | null>
  /** Queues failed jobs again that the filter names. */
  redrive(tenant: string, filter: FailedFilter, options: RedriveOptions): Promise<Redriven>
  /** Failed jobs by lane and error code, as they were counted some seconds ago at the most. */
  failures(tenant: string): Promise<FailureCounts>
  /** Failed jobs with their requests, the oldest first; read as they are taken, and until the signal aborts. */
  failed(
    tenant: string,
    filter: FailedFilter,
    limit: number,
    signal?: AbortSignal,
  ): AsyncIterable<FailedRequest>
  /** Forgets the job and everything kept of it. False: there was none. */
  remove(tenant: string, id: string): Promise<boolean>
  group(tenant: string, group: string): Promise<GroupSummary | null>
  /** By their last change, newest first. `after`: the last group of the page before. */
  groups(tenant: string, limit: number, after?: GroupPlace): Promise<Page<GroupEntry>>
  /** How jobs stand, in one read; null where there is no such job. */
  statuses(tenant: string, ids: readonly string[]): Promise<(JobStatus | null)[]>
  /** How many jobs of a group have not ended. */
  countOpen(tenant: string, group: string): Promise<number>
  /**
   * A job's events after `cursor` ('' = from the first), then live ones, until the terminal event or the signal.
   * Null when there is no such job; `{ finished: true }` when the job is terminal and nothing is left after the cursor.
   */
  follow(tenant: string, id: string, cursor: string, signal: AbortSignal): Promise<Following | null>
  /** The same for a group; ends when every job of the group is terminal. */
  followGroup(tenant: string, group: string, cursor: string, signal: AbortSignal): Promise<Following | null>
  deliveries(tenant: string, jobId: string): Promise<Delivery[] | null>
  redeliver(tenant: string, deliveryId: string): Promise<Delivery | null>
}

export type Following = { finished: boolean; events: AsyncIterable<JobEvent> }
