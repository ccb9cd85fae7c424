import type { JsonObject } from '../lib/json.ts'
import type { BudgetShortage, BudgetWindow } from './budgets.ts'
import type { Cancelled, CancelOptions, OpenFilter } from './cancel-filter.ts'
import type { FailedFilter, FailedRequest, FailureCounts, Redriven, RedriveOptions } from './failed.ts'
import type { FairKeyLimits } from './fair-key.ts'
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
  Tier,
  WebhookTarget,
} from './job.ts'

/** A validated request for a job. Everything that needs the configuration is decided. */
export type NewJob = {
  tenant: string
  /** Set if the caller chose the id: if a job with this id exists, it is the answer. Absent: the job gets a new id. */
  id?: string
  /** The step of a durable run that the job belongs to. */
  durable?: DurableStep
  /** The flow that the job belongs to. */
  flow?: JobFlow
  type: JobType
  /** The model as the client named it: `provider/model` or an alias. */
  model: string
  /** The lane that serves it: `provider/model`. */
  lane: string
  body: JsonObject
  priority: Priority
  /** Unix ms; null: at once. A time in the past, by Redis' clock, means at once. */
  runAt: number | null
  /** The job runs this many ms after its creation, by Redis' clock. Then `runAt` is null. */
  delayMs?: number
  deadline: number | null
  timeoutMs: number
  maxAttempts: number
  cache: CacheMode
  /** The mode that the client asked for, to recognise a repeated request. `cache` may allow less. */
  askedCache?: CacheMode
  webhook: WebhookTarget | null
  group: string | null
  /**
   * The user for whom the client submits the job. The tenant's turns rotate among its fair keys. Absent: no one in
   * particular.
   */
  fairKey?: string
  metadata: Record<string, string>
  idempotencyKey: string | null
  /**
   * True: a client sees the chunks as they arrive. If an attempt fails after the first chunk, the job ends, because
   * another attempt would give another answer.
   */
  isShownLive?: boolean
  /**
   * True: a client holds its connection for the answer. The job needs no forecast, and an idle worker gets it by direct
   * dispatch.
   */
  isAwaited?: boolean
  /** Lanes of the model's route that cannot serve this request. */
  unfitLanes?: string[]
  /** By lane: members of the body that its provider has no counterpart for, and which are left out. */
  dropped?: Record<string, string[]>
  /** The `previous_response_id` as the client gave it, if the body has another. */
  previousResponseId?: string
  /** Digest of the request as received, to recognise a repeated request with the same idempotency key. */
  fingerprint?: string
  /** Digests of the files that the body names, by their ids. Equal files make equal jobs. */
  inputs?: ReadonlyMap<string, string>
  /** Ids of files that came with the request, and are deleted with the job. */
  files?: readonly string[]
  /** Id of the HTTP request that created the job. */
  requestId?: string
  /** The W3C `traceparent` of that request. All work for the job belongs to this trace. */
  trace?: string
  /** Set if the job waits for a provider batch, and not for a call of its own. */
  gather?: GatherPlan
  /** What the job will cost its lane. */
  cost: JobCost
  /** Expected cost of the job, USD. If `openOutput` is set, it does not include the output. */
  estimateUsd: number
  /** Set if the output has no cap. The expected length is learned from answers. */
  openOutput?: OpenOutput
  /** Earliest time at which a call for the job could start, Unix ms; only for jobs with a deadline. */
  earliestStart?: number | null
  limits: TenantLimits
  /**
   * For a model that the configuration does not name: how many such models of the provider the tenant may use at the
   * same time.
   */
  maxLanes?: number
}

/** How a job is gathered for a provider batch. */
export type GatherPlan = {
  type: JobType
  /** The latest time at which the job leaves the batch for a faster way, Unix ms; null: it may wait. */
  leaveAt: number | null
  /** Estimated length of its line in the batch, bytes. */
  bytes: number
}

/** A step of a durable run. `run` is what stands for the run's id in keys. */
export type DurableStep = { run: string; id: string; step: string }

/** The place of a job in a flow. `step` and `element` count from 0, `attempt` from 1. */
export type JobFlow = {
  id: string
  step: number
  /** The name of the step. */
  name: string
  element: number
  attempt: number
}

/** What the output of a request without a cap costs. */
export type OpenOutput = {
  usdPerToken: number
  /** Expected tokens of each choice while no lengths are known, and the maximum; null: there is none. */
  unlearned: number
  most: number | null
  choices: number
}

/** The tenant's limits in the configuration at the time of the submission. */
export type TenantLimits = {
  /** Open (scheduled, queued, running) jobs. */
  maxQueued: number
  /** Submissions a minute; null: no limit. */
  requestsPerMinute: number | null
  /** USD a UTC day; null: no limit. */
  budgetUsdPerDay: number | null
  /** Limits of each fair key; absent: none. */
  perFairKey?: FairKeyLimits
  /**
   * Budgets of the tenant, its fair key, the keys that pay and the flow, with their windows; absent: none. The store
   * knows those of its group.
   */
  budgets?: readonly BudgetWindow[]
  /** The address that gets webhooks about budgets; absent: none. */
  operationsUrl?: string
  /** The cost of the job is not known, and budgets refuse such jobs. Absent: budgets ignore it. */
  refusesUnpriced?: true
}

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

/** What one job takes from its lane. It is known before the job is fetched. */
export type JobCost = {
  /** Estimated tokens as the provider counts them against its limit. */
  tokens: number
  /** The input and the output among these tokens, for providers that limit them separately. */
  inputTokens: number
  outputTokens: number
  /** Inputs of an embedding job; 1 for others. */
  inputs: number
  /** Jobs with the same key may share a request; null: the job goes alone. */
  coalesceKey: string | null
  /** Most output tokens of each choice; null: the request sets no cap. Absent: the same as `outputTokens`. */
  outputCap?: number | null
  /** How many answers the request asks for; absent: one. */
  choices?: number
  /** How many pictures the request asks for; absent: none. */
  images?: number
  /** Seconds of sound in the input, estimated from the file; absent: none. */
  audioSeconds?: number
  /** How the job is to be served; absent: standard. */
  tier?: Exclude<Tier, 'standard'>
  /** The tier of service that the body names, unless it is standard or `tier` says the same. */
  serviceTier?: 'flex' | 'priority'
  /** Set if the job may be called at flex. */
  flex?: FlexPlan
  /** Name of the long prefix that the job shares with others, if its lane warms prompt caches. */
  prefix?: string
  /**
   * Digest of its fair key, from `digestFairKey`; absent: none. It is a part of the cost because the queue has to know
   * it.
   */
  fairKey?: string
  /** The source of its lane that the job has to go to, because what the body refers to is stored there; absent: any. */
  source?: string
  /**
   * Rates at which the request may be billed, if they are higher than those of plain input and output; absent: none.
   */
  dearRates?: DearRate[]
}

/** How long a job may be called at flex, because its tier is `flex` or flex is the cheapest way in time. */
export type FlexPlan = {
  /** From this time on the job goes at standard, Unix ms; null: `fallBackAfter` its first call. */
  until: number | null
  /** Time after the first call, ms. */
  fallBackAfter: number
  /** How long one call at flex may take, ms. */
  timeout: number
}

/**
 * `cache_write`, `cache_write_1h`: the request may write to a prompt cache. `audio`: it contains audio, or asks for it.
 */
export type DearRate = 'cache_write' | 'cache_write_1h' | 'audio'

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

export type Following = { finished: boolean; events: AsyncIterable<JobEvent> }
