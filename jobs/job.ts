import { CallType } from '../lib/call-type.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import type { Usage } from '../lib/usage.ts'

/** A job asks for one call. */
export const JobType = CallType
export type JobType = CallType

/** The states of a job; docs/architecture.md draws the ways between them. */
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

export const Priority = { high: 'high', normal: 'normal', low: 'low' } as const
export type Priority = (typeof Priority)[keyof typeof Priority]

/** How a job may be served; `auto`: by the cheapest way that meets its deadline. */
export const Tier = { standard: 'standard', flex: 'flex', batch: 'batch', auto: 'auto' } as const
export type Tier = (typeof Tier)[keyof typeof Tier]

/** How a job wants to use earlier answers: take them, replace them, or neither. */
export const CacheMode = { use: 'use', refresh: 'refresh', off: 'off' } as const
export type CacheMode = (typeof CacheMode)[keyof typeof CacheMode]

/** Where a job's answer came from. */
export type CacheOutcome = 'miss' | 'hit' | 'shared' | 'off'

export type WebhookEvent = 'job.completed' | 'job.failed' | 'job.cancelled'
export type WebhookTarget = { url: string; events: WebhookEvent[] }

export type JobError = {
  code: string
  message: string
  /** HTTP status of the provider, null when none answered. */
  provider_status: number | null
  retryable: boolean
  /** The provider's own error object; absent where it gave none. */
  provider_error?: JsonObject
}

/**
 * `budget`: the calls under way may come to what is left of the tenant's budget. `provider_batch`: the next batch of the provider.
 * `fair_key`: the limits of its fair key. `tenant_pause`: its tenant is paused by hand.
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
  /** Whose job it is inside the tenant; null: nobody's, or it cannot be decrypted. */
  fair_key: string | null
  /** The step of a durable run that it belongs to; absent where there is none. */
  durable?: { id: string; step: string }
  /** The flow that it belongs to, and its place there; absent where there is none. */
  flow?: { id: string; step: string; index: number }
  priority: Priority
  /** As asked, or by the lane's default. */
  tier: Tier
  /** The tier of service that gave the answer, as the provider names it; null: there is no answer. */
  served_tier: string | null
  metadata: Record<string, string>
  created_at: string
  run_at: string | null
  started_at: string | null
  finished_at: string | null
  deadline: string | null
  attempts: number
  max_attempts: number
  /** How often the configuration had it queued again after it had failed. */
  redrives: number
  next_attempt_at: string | null
  estimated_start_at: string | null
  waiting_for: WaitingFor | null
  cache: CacheOutcome
  result: JsonObject | null
  /** There is a result, and this answer does without it; absent everywhere else. */
  result_omitted?: true
  /** Where an omitted result is to be had: the path of the job. */
  result_url?: string
  usage: Usage | null
  /** True: the provider did not tell all of it. */
  usage_is_estimate: boolean
  /** Of all calls made for it. */
  cost_usd: number | null
  /** What the provider's prompt cache saved; absent: nothing. */
  prompt_cache_saved_usd?: number
  /** Members of the body that the lane's provider had no counterpart for, and that were left out. */
  dropped_members: string[]
  /** True: what one of its calls cost is not known for certain. */
  cost_is_estimate: boolean
  error: JobError | null
}

/** One call made for a job, from its intent to its outcome. */
export type Attempt = {
  attempt: number
  provider: string
  model: string
  /** The source of the lane that was called; null: none, or not known yet. */
  source: string | null
  started_at: string
  latency_ms: number | null
  /** `running` until its outcome is known; `lost` when the worker died with it. */
  outcome: 'running' | 'completed' | 'throttled' | 'retryable' | 'timeout' | 'failed' | 'aborted' | 'lost'
  status: number | null
  error_code: string | null
  /** The tier of service that the call asked for, and the one that its answer names; null: it has none. */
  tier: Tier
  served_tier: string | null
  usage: Usage | null
  /** True: the provider did not tell all of it. */
  usage_is_estimate: boolean
  /** Null: not known, or none. */
  cost_usd: number | null
  cost_is_estimate: boolean
  /** How long the job had waited when this call left, and what it waited for last. */
  waited_ms: number
  waited_for: WaitingFor | null
  /** True when it is not known whether the provider did (and billed) the work. */
  ambiguous: boolean
  /** How many jobs the provider request carried. */
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

/** One event of a job as subscribers get it. `cursor` is what `Last-Event-ID` names. */
export type JobEvent = {
  cursor: string
  event: JobEventType
  data: { job_id: string; seq: number; at: string; [member: string]: JsonValue | Job | undefined }
}

export type GroupSummary = {
  group: string
  total: number
  counts: Record<JobStatus, number>
  /** Of the calls whose lanes have a price; null: of no call it is known. */
  cost_usd: number | null
  unpriced_calls: number
  estimated_finish_at: string | null
}

/** Where a group stands among those of its tenant: by its last change, Unix ms. */
export type GroupPlace = { group: string; at: number }

/** A group as lists show it. */
export type GroupEntry = Omit<GroupSummary, 'estimated_finish_at'> & {
  /** When a job of it last changed its state. */
  updated_at: string
}

export type Delivery = {
  id: string
  /** Of the job, of the flow, or of what is told of a budget. */
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
