import type {
  ClaimedDelivery,
  DeliveryAttempt,
  WebhookDeliveryView,
  WebhookEndpoint,
  WebhookEvent,
} from './delivery.ts'

/** Reads a claimed delivery from what the script of a claim answers. */
export function readClaim(tenant: string, claimedAt: number, entry: string[]): ClaimedDelivery {
  const [host = '', claim = '', ...flat] = entry
  const fields: Record<string, string> = {}
  for (let index = 0; index < flat.length; index += 2) fields[flat[index] ?? ''] = flat[index + 1] ?? ''
  return {
    tenant,
    id: fields.id ?? '',
    jobId: fields.job_id ?? '',
    event: fields.event as WebhookEvent,
    url: fields.url ?? '',
    host,
    createdAt: Number(fields.created_at),
    claimedAt,
    attemptsMade: Number(fields.attempt_count),
    lane: fields.lane || null,
    requestId: fields.request_id || null,
    trace: fields.trace || null,
    claim,
  }
}

/** Reads the counts of an address. */
export function readEndpoint(url: string, text: string): WebhookEndpoint {
  const { delivered, failed, last_at, last_status, last_error, failing_since } = JSON.parse(text) as {
    [name: string]: unknown
    delivered: number
    failed: number
    last_at: number
  }
  const toTime = (at: unknown) => (typeof at === 'number' ? new Date(at).toISOString() : null)
  return {
    url,
    delivered,
    failed,
    last_at: new Date(last_at).toISOString(),
    last_status: typeof last_status === 'number' ? last_status : null,
    last_error: typeof last_error === 'string' ? last_error : null,
    failing_since: toTime(failing_since),
  }
}

/** A delivery that failed and left Redis is not tried again, even if it was copied before its last attempt. */
export function toGivenUp(fields: Record<string, string> | null | undefined): WebhookDeliveryView | null {
  return fields ? { ...readDelivery(fields), status: 'failed', next_attempt_at: null } : null
}

/** Reads a delivery from its hash. */
export function readDelivery(fields: Record<string, string>): WebhookDeliveryView {
  return {
    id: fields.id ?? '',
    job_id: fields.job_id ?? '',
    event: fields.event as WebhookEvent,
    url: fields.url ?? '',
    status: fields.status as WebhookDeliveryView['status'],
    created_at: new Date(Number(fields.created_at)).toISOString(),
    next_attempt_at: fields.next_attempt_at ? new Date(Number(fields.next_attempt_at)).toISOString() : null,
    attempts: JSON.parse(fields.attempts ?? '[]') as DeliveryAttempt[],
  }
}
