import type { JsonObject } from '../lib/json.ts'
import type { BudgetWindow } from './budgets.ts'
import type { FairKeyLimits } from './fair-key.ts'
import type { CacheMode, JobType, Priority, WebhookTarget } from './job.ts'
import type { JobCost } from './job-cost.ts'

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
