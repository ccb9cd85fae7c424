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
