import type { UsageEntry } from '../wire.ts'

const DAY_MS = 86_400_000
const DAY_CHARACTERS = 'YYYY-MM-DD'.length

/** The ranges that the page offers, in days. */
export const spans = [7, 30, 90]

/** The last `count` days (UTC), including today. */
export function lastDays(count: number, now: number): { from: string; to: string } {
  return { from: toDay(now - (count - 1) * DAY_MS), to: toDay(now) }
}

/** One bar: a day, or several if there are too many days for a bar each. */
export type DayBar = { from: string; to: string; costUsd: number; jobs: number }

/**
 * Bars from the first day to the last, including days on which no job ended. All bars but the last cover the same number of days.
 *
 * @param most the most bars
 */
export function toBars(
  { from, to, data }: { from: string; to: string; data: readonly UsageEntry[] },
  most: number,
): DayBar[] {
  const first = Date.parse(from)
  const count = Math.round((Date.parse(to) - first) / DAY_MS) + 1
  const each = Math.ceil(count / most)
  const bars: DayBar[] = []
  for (let at = 0; at < count; at += each) {
    const last = Math.min(count, at + each) - 1
    bars.push({ from: toDay(first + at * DAY_MS), to: toDay(first + last * DAY_MS), costUsd: 0, jobs: 0 })
  }
  for (const { day, cost_usd, jobs } of data) {
    const bar = bars[Math.floor(Math.round((Date.parse(day!) - first) / DAY_MS) / each)]
    if (bar === undefined) continue
    bar.costUsd += cost_usd ?? 0
    bar.jobs += jobs
  }
  return bars
}

/** Adds up all entries; null if there are none. */
export function sumUsage(entries: readonly UsageEntry[]): UsageEntry | null {
  const [first, ...others] = entries
  if (first === undefined) return null
  const sum: Record<string, unknown> = { ...first }
  for (const entry of others) {
    for (const [name, value] of Object.entries(entry)) {
      if (typeof value === 'number') sum[name] = Number(sum[name]) + value
    }
  }
  return sum as UsageEntry
}

/** The sum of all kinds of savings, USD. */
export function savedOf(entry: UsageEntry): number {
  const { saved_cache_usd, saved_sharing_usd, saved_tiers_usd, saved_prompt_cache_usd } = entry
  return saved_cache_usd + saved_sharing_usd + saved_tiers_usd + saved_prompt_cache_usd
}

function toDay(ms: number): string {
  return new Date(ms).toISOString().slice(0, DAY_CHARACTERS)
}
