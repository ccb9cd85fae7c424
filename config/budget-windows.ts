import { localTimeOf } from '../lib/local-time.ts'

/** USD that may be spent per day, week (from Monday) or month of a time zone. */
export type Budget = { usd: number; per: 'day' | 'week' | 'month'; time_zone: string }

/**
 * The window that contains an instant, and the end of the following window; all Unix ms. A day begins at local midnight, so a day on which
 * clocks change has 23 or 25 hours.
 */
export function findWindow(
  { per, time_zone: zone }: Pick<Budget, 'per' | 'time_zone'>,
  now: number,
): { start: number; end: number; nextEnd: number } {
  const time = localTimeOf(zone)
  const local = new Date(time.toLocal(now))
  const [year, month] = [local.getUTCFullYear(), local.getUTCMonth()]
  const day = per === 'month' ? 1 : local.getUTCDate() - (per === 'week' ? (local.getUTCDay() + 6) % 7 : 0)
  const at = (windows: number) => {
    const days = per === 'month' ? 0 : windows * (per === 'week' ? 7 : 1)
    return time.toInstant(Date.UTC(year, month + (per === 'month' ? windows : 0), day + days))
  }
  return { start: at(0), end: at(1), nextEnd: at(2) }
}
