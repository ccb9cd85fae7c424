/** The sorted set of tenants that have schedules, by when the first of them is due: Unix ms. */
export function dueTenantsKey(prefix: string): string {
  return `${prefix}:schedules`
}

/** The idempotency key of the job or flow of a slot. No client can send such a key, which has a line break in it. */
export function slotKey(schedule: string, scheduledFor: number): string {
  return `${schedule}\n${scheduledFor}`
}
