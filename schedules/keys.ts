/** The key of a sorted set: tenants that have schedules, scored by when their first schedule is due, Unix ms. */
export function dueTenantsKey(prefix: string): string {
  return `${prefix}:schedules`
}

/** The idempotency key for the job or flow of a slot. It contains a line break, so no client can send such a key. */
export function slotKey(schedule: string, scheduledFor: number): string {
  return `${schedule}\n${scheduledFor}`
}
