export type WebhookEvent =
  | 'job.completed'
  | 'job.failed'
  | 'job.cancelled'
  | 'flow.completed'
  | 'flow.failed'
  | 'flow.cancelled'
  | 'budget.warning'
  | 'budget.exhausted'

export type DeliveryAttempt = {
  at: string
  /** HTTP status, null when no answer came. */
  status: number | null
  error: string | null
  latency_ms: number
  /** How long the receiver asked to wait; absent: it did not ask. */
  retry_after_ms?: number
}

/** A delivery as clients see it. Times are RFC 3339 UTC with milliseconds. */
export type WebhookDeliveryView = {
  id: string
  /** Id of the job or flow, or of the budget's event. */
  job_id: string
  event: WebhookEvent
  url: string
  status: 'pending' | 'delivered' | 'failed'
  created_at: string
  next_attempt_at: string | null
  /** The latest 20 attempts, oldest first. */
  attempts: DeliveryAttempt[]
}

/** A delivery that this process may send until its lease ends. */
export type ClaimedDelivery = {
  tenant: string
  id: string
  jobId: string
  event: WebhookEvent
  url: string
  /** The host whose simultaneous deliveries are limited. */
  host: string
  /** Unix ms of Redis' clock, like `claimedAt`. */
  createdAt: number
  claimedAt: number
  /** Attempts since the creation or the latest redelivery. */
  attemptsMade: number
  /** Of the job; null where it has none. */
  lane: string | null
  requestId: string | null
  trace: string | null
  /** Number of this claim, for `recordAttempt` and `postpone`. */
  claim: string
}

/** An address, and the outcomes of the attempts to send there. Times are RFC 3339. */
export type WebhookEndpoint = {
  /** Without its query, which may contain the job's id. */
  url: string
  /** Attempts with a 2xx answer, and all others, since the address was first used. */
  delivered: number
  failed: number
  last_at: string
  last_status: number | null
  last_error: string | null
  /** The first failed attempt since the latest delivery; null: the latest attempt was delivered. */
  failing_since: string | null
}
