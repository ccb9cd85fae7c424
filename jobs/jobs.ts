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

/** A validated request for a job, with everything decided that needs the configuration. */
export type NewJob = {
  tenant: string
  /** Set if the caller chose the id: an existing job with it is the answer. Absent: a new id. */
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
  /** Unix milliseconds; null: at once. A time in the past, by Redis' clock, means at once. */
  runAt: number | null
  /** Not before this many ms after its creation, by Redis' clock; `runAt` is null then. */
  delayMs?: number
  deadline: number | null
  timeoutMs: number
  maxAttempts: number
  cache: CacheMode
  /** As the client asked, to recognise a repeated request; `cache` may be narrower by now. */
  askedCache?: CacheMode
  webhook: WebhookTarget | null
  group: string | null
  /** Whose job it is inside the tenant, as the client names its user: turns of the tenant go round these. Absent: nobody's. */
  fairKey?: string
  metadata: Record<string, string>
  idempotencyKey: string | null
  /**
   * True: a client sees the chunks as they arrive. An attempt that fails after the first chunk ends the job, because
   * another attempt would give another answer.
   */
  isShownLive?: boolean
  /**
   * True: a client holds its connection for the answer. Such a job needs no forecast, and an idle worker gets it by
   * direct dispatch.
   */
  isAwaited?: boolean
  /** Lanes of the model's route that cannot serve this request. */
  unfitLanes?: string[]
  /** By lane: members of the body that its provider has no counterpart for and leaves out. */
  dropped?: Record<string, string[]>
  /** The `previous_response_id` as the client gave it, if the body has another. */
  previousResponseId?: string
  /** Digest of the request as received, to recognise a repeated request with the same key. */
  fingerprint?: string
  /** Digests of the files that its body names, by their ids: equal files make equal jobs. */
  inputs?: ReadonlyMap<string, string>
  /** Files that came with the request, and go with the job. */
  files?: readonly string[]
  /** Id of the HTTP request that created it. */
  requestId?: string
  /** The W3C `traceparent` of that request: all work for the job belongs to this trace. */
  trace?: string
  /** Set if it waits for a provider batch instead of a call of its own. */
  gather?: GatherPlan
  /** What the job will cost its lane. */
  cost: JobCost
  /** Expected cost of the job, USD; without the output if `openOutput` is set. */
  estimateUsd: number
  /** Output without a cap: the expected length is learned from answers. */
  openOutput?: OpenOutput
  /** Earliest time at which a call for it could leave, Unix ms; only for jobs with a deadline. */
  earliestStart?: number | null
  limits: TenantLimits
  /** For a model that the configuration does not name: how many such models of the provider the tenant may use at a time. */
  maxLanes?: number
}

/** How a job is gathered for a provider batch. */
export type GatherPlan = {
  type: JobType
  /** When it leaves for a faster way at the latest, Unix ms; null: it need not. */
  leaveAt: number | null
  /** About how long its line is. */
  bytes: number
}

/** A step of a durable run; `run` stands for the run's id in keys. */
export type DurableStep = { run: string; id: string; step: string }

/** Which job of which flow. `step` and `element` count from 0, `attempt` from 1. */
export type JobFlow = {
  id: string
  step: number
  /** Of the step. */
  name: string
  element: number
  attempt: number
}

/** What the output of a request without a cap costs. */
export type OpenOutput = {
  usdPerToken: number
  /** Expected tokens of each choice before any are known, and the maximum; null: none. */
  unlearned: number
  most: number | null
  choices: number
}

/** The tenant's limits, by the configuration at the submission. */
export type TenantLimits = {
  /** Open (scheduled, queued, running) jobs. */
  maxQueued: number
  /** Submissions a minute; null: no limit. */
  requestsPerMinute: number | null
  /** USD a UTC day; null: no limit. */
  budgetUsdPerDay: number | null
  /** Of each fair key; without it they have none. */
  perFairKey?: FairKeyLimits
  /** Budgets of windows, of the tenant, its fair key, the keys that pay and the flow; without it none. Those of its group the store knows. */
  budgets?: readonly BudgetWindow[]
  /** The address that hears of budgets; without it none. */
  operationsUrl?: string
  /** What the job costs is not known, and budgets refuse that; without it they do not see it. */
  refusesUnpriced?: true
}

/** Why a job is refused now. */
export type Refusal = {
  kind: 'refused'
  code:
    | 'queue_full'
    /** The job's fair key has as many open jobs as it may. */
    | 'fair_key_full'
    | 'lanes_full'
    | 'rate_limited'
    | 'budget_exhausted'
    | 'deadline_unreachable'
    | 'memory_short'
    /** Its flow is cancelled, failed or gone. */
    | 'flow_over'
    /** The flow's spending and its open jobs would exceed `budget_usd`. */
    | 'flow_budget_exhausted'
    /** Its model has no price, a budget counts, and `budgets.unknown_price` is `refuse`. */
    | 'unpriced'
  /** When a new try may succeed; null if that depends on other jobs. Of a deadline: when the job's fair key lets it start; null: the lane does. */
  retryAfterMs: number | null
  /** The budget that has no room; without it none is known. */
  shortage?: BudgetShortage
}

/** What one job takes from its lane. It is known before the job is fetched. */
export type JobCost = {
  /** Estimated tokens as the provider counts them against its limit. */
  tokens: number
  /** Of these, input and output, for providers that limit them apart. */
  inputTokens: number
  outputTokens: number
  /** Inputs of an embedding job; 1 for others. */
  inputs: number
  /** Jobs with the same key may share one request; null: it goes alone. */
  coalesceKey: string | null
  /** Most output tokens of each choice; null: the request sets no cap. Absent: as `outputTokens`. */
  outputCap?: number | null
  /** Answers asked for; absent: one. */
  choices?: number
  /** Pictures asked for; absent: none. */
  images?: number
  /** Seconds of sound to hear, estimated from the file; absent: none. */
  audioSeconds?: number
  /** How the job is to be served; absent: standard. */
  tier?: Exclude<Tier, 'standard'>
  /** The tier of service that its body names, where that is not the standard one and `tier` does not say it. */
  serviceTier?: 'flex' | 'priority'
  /** Set if it may be called at flex. */
  flex?: FlexPlan
  /** Name of the long prefix that it shares with others, where its lane warms prompt caches. */
  prefix?: string
  /** Digest of its fair key, as `digestFairKey` makes it; absent: none. It stands here because the queue has to know it. */
  fairKey?: string
  /** The source of its lane that it has to go to, where what it refers to lives; absent: any. */
  source?: string
  /** Rates over that of plain input and output that the request may be billed at; absent: none. */
  dearRates?: DearRate[]
}

/** How long a job goes at flex, of tier `flex` or as the cheapest way in time. */
export type FlexPlan = {
  /** From then on it goes at standard, Unix ms; null: `fallBackAfter` its first call. */
  until: number | null
  /** ms */
  fallBackAfter: number
  /** How long one call of it at flex may take, ms. */
  timeout: number
}

/** `cache_write`, `cache_write_1h`: it may write to a prompt cache. `audio`: it holds audio, or asks for it. */
export type DearRate = 'cache_write' | 'cache_write_1h' | 'audio'

export type CreateOutcome =
  | { kind: 'created'; job: Job }
  /** Same idempotency key, same payload: the job that the first request created. */
  | { kind: 'replayed'; job: Job }
  /** Same idempotency key, another payload. */
  | { kind: 'conflict' }
  | Refusal

/** A short answer for bulk submissions: the record is not read back. */
export type BulkOutcome =
  | { kind: 'created' | 'replayed'; id: string; status: JobStatus }
  | { kind: 'conflict' }
  | Refusal
  /** If the store did not answer, it is unknown whether the job exists. Its idempotency key tells when you send it again. */
  | { kind: 'failed'; error: unknown }

/** The state of a job and its outcome. */
export type JobOutcome = Pick<Job, 'id' | 'status' | 'result' | 'error'>

/** A job with its request. */
export type JobRequest = {
  job: Job
  body: JsonObject
  /** See NewJob. */
  previousResponseId: string | null
  /** Cursor from which its events count: '' for a job that was never retried. Earlier events are void. */
  cursor: string
}

export type JobFilter = {
  status?: JobStatus
  type?: JobType
  group?: string
  lane?: string
  /** The id of the schedule that made them. */
  schedule?: string
  /** As the client named it. */
  model?: string
  errorCode?: string
  /** All of these pairs. */
  metadata?: Readonly<Record<string, string>>
  /** Unix ms: created then or later, and before then. */
  createdAfter?: number
  createdBefore?: number
  minCostUsd?: number
}

export type Page<T> = { data: T[]; hasMore: boolean }

/** Where a job stands in lists: newest first, within a millisecond by the ids. `createdAt`: Unix ms. */
export type JobPlace = { createdAt: number; id: string }

export type JobListOptions = {
  /** The cursor of the page before. */
  after?: string | undefined
  /** The place behind which the page begins, instead of `after`; no job need stand there. */
  from?: JobPlace | undefined
  /** Most jobs to look at; without it as many as a page may. */
  mostScanned?: number
  /** With results, the first ones first, up to 4 MB a page. */
  withResults?: boolean
  /** Ends the search. */
  signal?: AbortSignal
}

/**
 * `cursor`: the job after which the next page begins; null: there is none. `scanned`: set if the page is not full though there
 * is more. It is the number of jobs that were looked at, which is the most for one page; null otherwise. `end`: where the cursor stands.
 */
export type JobPage = Page<Job> & { cursor: string | null; scanned: number | null; end: JobPlace | null }

/**
 * Everything that the API may do with jobs. Every method takes the tenant first and sees only that tenant's jobs.
 * A job of another tenant is null, like one that does not exist.
 */
export type Jobs = {
  create(job: NewJob): Promise<CreateOutcome>
  /** Creates many in one pipeline; outcomes in the order of the jobs. One that fails does not fail the others. Never throws. */
  createMany(jobs: NewJob[]): Promise<BulkOutcome[]>
  /** Models of a provider that the tenant used lately and that the configuration does not name. */
  models(tenant: string, provider: string): Promise<string[]>
  get(tenant: string, id: string): Promise<Job | null>
  /** In the order of the ids. */
  getMany(tenant: string, ids: readonly string[]): Promise<(Job | null)[]>
  /** How jobs ended, in the order of the ids: only their results and errors. */
  outcomes(tenant: string, ids: readonly string[]): Promise<(JobOutcome | null)[]>
  getRequest(tenant: string, id: string): Promise<JobRequest | null>
  /** Resolves with the job when it is terminal, the time is up, or the signal aborts. */
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
  /** Failed jobs by lane and error code. The count is at most some seconds old. */
  failures(tenant: string): Promise<FailureCounts>
  /** Failed jobs with their requests, oldest first. They are read as you take them, until the signal aborts. */
  failed(
    tenant: string,
    filter: FailedFilter,
    limit: number,
    signal?: AbortSignal,
  ): AsyncIterable<FailedRequest>
  /** Deletes the job and everything that belongs to it. False: there was none. */
  remove(tenant: string, id: string): Promise<boolean>
  group(tenant: string, group: string): Promise<GroupSummary | null>
  /** By their last change, newest first. `after`: the last group of the page before. */
  groups(tenant: string, limit: number, after?: GroupPlace): Promise<Page<GroupEntry>>
  /** The states of jobs, in one read; null if there is no such job. */
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
  /** Counts a request that is no job among the submissions of its tenant. Ms until there is room for it; 0: it is counted. */
  takeSubmission(tenant: string, perMinute: number): Promise<number>
  deliveries(tenant: string, jobId: string): Promise<Delivery[] | null>
  redeliver(tenant: string, deliveryId: string): Promise<Delivery | null>
}

export type Following = { finished: boolean; events: AsyncIterable<JobEvent> }
