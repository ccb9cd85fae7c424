import { CallType } from '../lib/call-type.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { Usage } from '../lib/usage.ts'

/** A job asks for one call. */
export const JobType = CallType
export type JobType = CallType

/** The states of a job; docs/architecture.md shows the transitions. */
export const JobStatus = {
  scheduled: 'scheduled',
  queued: 'queued',
  running: 'running',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
} as const
export type JobStatus = (typeof JobStatus)[keyof typeof JobStatus]

export type TerminalStatus = 'completed' | 'failed' | 'cancelled'

/** True for the states that a job leaves only by an explicit retry. */
export function isTerminal(status: JobStatus): status is TerminalStatus {
  return status === JobStatus.completed || status === JobStatus.failed || status === JobStatus.cancelled
}

/** The bands in which a lane serves jobs, the first one first. */
export const Priority = { high: 'high', normal: 'normal', low: 'low' } as const
export type Priority = (typeof Priority)[keyof typeof Priority]

/** How a job may be served; `auto`: in the cheapest way that meets its deadline. */
export const Tier = { standard: 'standard', flex: 'flex', batch: 'batch', auto: 'auto' } as const
export type Tier = (typeof Tier)[keyof typeof Tier]

/** Whether a job takes earlier answers (`use`), replaces them (`refresh`), or neither (`off`). */
export const CacheMode = { use: 'use', refresh: 'refresh', off: 'off' } as const
export type CacheMode = (typeof CacheMode)[keyof typeof CacheMode]

/** Where a job's answer came from. */
export type CacheOutcome = 'miss' | 'hit' | 'shared' | 'off'

export type WebhookEvent = 'job.completed' | 'job.failed' | 'job.cancelled'
export type WebhookTarget = { url: string; events: WebhookEvent[] }

/** Why a job failed. */
export type JobError = {
  code: string
  message: string
  /** HTTP status of the provider; null: no provider answered. */
  provider_status: number | null
  retryable: boolean
  /** The provider's own error object; absent: it gave none. */
  provider_error?: JsonObject
}

/**
 * What a job waits for. Some of them:
 * - `budget`: the calls under way may use up what is left of a budget;
 * - `provider_batch`: the next batch of the provider;
 * - `fair_key`: the limits of its fair key;
 * - `tenant_pause`: an operator has paused its tenant.
 */
export type WaitingFor =
  | 'requests'
  | 'tokens'
  | 'concurrency'
  | 'provider_pause'
  | 'retry_delay'
  | 'schedule'
  | 'budget'
  | 'provider_batch'
  | 'fair_key'
  | 'tenant_pause'

/** The job as clients see it. Times are RFC 3339 UTC with milliseconds. */
export type Job = {
  id: string
  object: 'job'
  type: JobType
  status: JobStatus
  model: string
  lane: string
  group: string | null
  /** Whom the job is for inside the tenant; null: no one in particular, or it cannot be decrypted. */
  fair_key: string | null
  /** The step of a durable run that the job belongs to; absent: none. */
  durable?: { id: string; step: string }
  /** The flow that the job belongs to, and its place there; absent: none. */
  flow?: { id: string; step: string; index: number }
  priority: Priority
  /** The tier that was asked for, or the lane's default. */
  tier: Tier
  /** The tier of service that gave the answer, in the provider's words; null: there is no answer. */
  served_tier: string | null
  metadata: Record<string, string>
  created_at: string
  run_at: string | null
  started_at: string | null
  finished_at: string | null
  deadline: string | null
  attempts: number
  max_attempts: number
  /** How often the setting `redrive` queued the job again after a failure. */
  redrives: number
  next_attempt_at: string | null
  estimated_start_at: string | null
  waiting_for: WaitingFor | null
  cache: CacheOutcome
  result: JsonObject | null
  /** The job has a result, but this response leaves it out; absent everywhere else. */
  result_omitted?: true
  /** The path of the job, where an omitted result can be read. */
  result_url?: string
  usage: Usage | null
  /** True: the provider did not report the whole usage, and a part of it is estimated. */
  usage_is_estimate: boolean
  /** The cost of all calls made for the job, USD; null: not known. */
  cost_usd: number | null
  /** What the provider's prompt cache saved, USD; absent: nothing. */
  prompt_cache_saved_usd?: number
  /** Members of the body that were left out, because the lane's provider has no counterpart for them. */
  dropped_members: string[]
  /** True: the cost of one of its calls is not known for certain. */
  cost_is_estimate: boolean
  error: JobError | null
}

/** One call made for a job, from its intent to its outcome. */
export type Attempt = {
  attempt: number
  provider: string
  model: string
  /** The source of the lane that was called; null: the lane has none, or the source is not known yet. */
  source: string | null
  started_at: string
  latency_ms: number | null
  /** `running` until the outcome is known; `lost` if the worker died during the call. */
  outcome: 'running' | 'completed' | 'throttled' | 'retryable' | 'timeout' | 'failed' | 'aborted' | 'lost'
  status: number | null
  error_code: string | null
  /** The tier of service that the call asked for, and the one that its answer names; null: the answer names none. */
  tier: Tier
  served_tier: string | null
  usage: Usage | null
  /** True: the provider did not report the whole usage, and a part of it is estimated. */
  usage_is_estimate: boolean
  /** USD; null: the cost is not known, or there is none. */
  cost_usd: number | null
  cost_is_estimate: boolean
  /** How long the job had waited when this call started, and what it waited for last. */
  waited_ms: number
  waited_for: WaitingFor | null
  /** True if it is not known whether the provider did (and billed) the work. */
  ambiguous: boolean
  /** How many jobs shared the request. */
  coalesced: number
}

export type JobEventType =
  | 'job.queued'
  | 'job.started'
  | 'job.delta'
  | 'job.retrying'
  | 'job.completed'
  | 'job.failed'
  | 'job.cancelled'

/** One event of a job as subscribers get it. `cursor` is the value for `Last-Event-ID`. */
export type JobEvent = {
  cursor: string
  event: JobEventType
  data: { job_id: string; seq: number; at: string; [member: string]: JsonValue | Job | undefined }
}

/** The jobs of a group in numbers. Times are RFC 3339. */
export type GroupSummary = {
  group: string
  total: number
  counts: Record<JobStatus, number>
  /** The cost of the calls whose lanes have a price, USD; null: no call's cost is known. */
  cost_usd: number | null
  unpriced_calls: number
  estimated_finish_at: string | null
}

/** The place of a group in its tenant's list, which is ordered by the last change, Unix ms. */
export type GroupPlace = { group: string; at: number }

/** A group as lists show it. */
export type GroupEntry = Omit<GroupSummary, 'estimated_finish_at'> & {
  /** When one of its jobs last changed its state. */
  updated_at: string
}

/** One delivery of a webhook, with its tries. Times are RFC 3339, `latency_ms` is in ms. */
export type Delivery = {
  id: string
  /** The id of the job or flow, or of the events of a budget. */
  job_id: string
  event:
    | WebhookEvent
    | 'flow.completed'
    | 'flow.failed'
    | 'flow.cancelled'
    | 'budget.warning'
    | 'budget.exhausted'
  url: string
  status: 'pending' | 'delivered' | 'failed'
  created_at: string
  next_attempt_at: string | null
  attempts: { at: string; status: number | null; error: string | null; latency_ms: number }[]
}
