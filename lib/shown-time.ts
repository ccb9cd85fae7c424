/** The last and the first instant that RFC 3339 can express in UTC, Unix ms. */
export const LAST_TIME = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
const FIRST_TIME = Date.parse('0000-01-01T00:00:00.000Z')

/** Whether an instant has an RFC 3339 form. A Date prints others as `+010000-…`, which clients cannot parse. */
export function isShownTime(ms: number): boolean {
  return ms >= FIRST_TIME && ms <= LAST_TIME
}
