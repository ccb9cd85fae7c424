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
  /** How long the receiver asked for no webhooks; absent: it did not. */
  retry_after_ms?: number
}

/** One webhook on its way to its receiver, as clients see it. Times are RFC 3339 UTC with milliseconds. */
export type WebhookDeliveryView = {
  id: string
  /** Of the job, of the flow, or of what is told of a budget. */
  job_id: string
  event: WebhookEvent
  url: string
  status: 'pending' | 'delivered' | 'failed'
  created_at: string
  next_attempt_at: string | null
  /** The latest 20, oldest first. */
  attempts: DeliveryAttempt[]
}
