/** The last instant that RFC 3339 can write in UTC, and the first, Unix ms. */
export const LAST_TIME = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
const FIRST_TIME = Date.parse('0000-01-01T00:00:00.000Z')

/** Whether an instant has an RFC 3339 form; others come as `+010000-…` out of a Date, which clients cannot read. */
export function isShownTime(ms: number): boolean {
  return ms >= FIRST_TIME && ms <= LAST_TIME
}
