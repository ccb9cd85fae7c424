import type { Comparison, Row } from './compare.ts'
import type { Check, LimitsResult } from './result.ts'
import { NEVER_REFUSED } from './ways.ts'

/** Sluice's goals, each with the measured value; only of the parts that were run. */
export function checkGoals(result: Omit<LimitsResult, 'checks'>): Check[] {
  const checks: Check[] = []
  const add = (goal: string, holds: boolean, found: string) => checks.push({ goal, holds, found })

  for (const row of sluiceRows(result.compare)) {
    const found = `${row.refused} 429s, ${row.failed} failed`
    add(`${row.name}: the mixed calls without a 429 or a failure`, row.refused + row.failed === 0, found)
  }
  for (const row of sluiceRows(result.half)) {
    const { refused, failed, lateShares } = row
    const share = lateShares?.most ?? 0
    add(
      `${row.name}: half the limit is learned with fewer than 10 429s, no failure, and 0.9 used after 10 s`,
      refused < 10 && failed === 0 && share >= 0.9,
      `${refused} 429s, ${failed} failed, ${share.toFixed(3)} used`,
    )
  }
  for (const row of sluiceRows(result.shared)) {
    add(`${row.name}: no failure where a second client takes 30%`, row.failed === 0, `${row.failed} failed`)
  }
  for (const { name, shares, refused } of result.steady ?? []) {
    add(
      `${name}: 0.98 of the limit over 60 s, and no 429`,
      shares.most >= 0.98 && refused === 0,
      `${shares.most.toFixed(4)} used, ${refused} 429s`,
    )
  }
  if (result.families) {
    const { shares, refused } = result.families
    add(
      'two lanes that share a limit: 0.98 of it over 60 s, and no 429',
      shares.most >= 0.98 && refused === 0,
      `${shares.most.toFixed(4)} used, ${refused} 429s`,
    )
  }
  if (result.sources) {
    const { shares, refused } = result.sources
    add(
      'three sources with different limits: 0.98 of their sum over 60 s, and no 429',
      shares.most >= 0.98 && refused === 0,
      `${shares.most.toFixed(4)} used, ${refused} 429s`,
    )
  }
  for (const { name, share, refused } of result.ways ?? []) {
    const most = NEVER_REFUSED.includes(name) ? 0 : 3
    add(
      `limits like those of ${name}: 0.95 of what they admit over the second half-minute, at most ${most} 429s`,
      share >= 0.95 && refused <= most,
      `${share.toFixed(3)} used, ${refused} 429s`,
    )
  }
  if (result.fairness) {
    const { seconds, idealSeconds, quietJobs, noisyJobs } = result.fairness
    add(
      `${quietJobs} jobs behind another tenant's ${noisyJobs} end within twice their half share's time`,
      seconds <= 2 * idealSeconds,
      `${seconds.toFixed(1)} s, where half the limit takes ${idealSeconds.toFixed(1)} s`,
    )
  }
  if (result.keys) {
    const { keys, flood, jobs, seconds, share } = result.keys
    add(
      `${keys.toLocaleString('en')} fair keys with limits: 0.95 of the lane's limit used, and ${jobs} jobs behind another key's ${flood.toLocaleString('en')} within 10 s`,
      share >= 0.95 && seconds <= 10,
      `${share.toFixed(3)} used, ${seconds.toFixed(1)} s`,
    )
  }
  const median = result.eta?.find(({ place }) => place === 500)
  if (median) {
    add(
      'the start of the median job of 1,000 is forecast within 15%',
      Math.abs(median.error) <= 0.15,
      `${(median.error * 100).toFixed(1)}% off`,
    )
  }
  for (const { knee, auto, best } of result.knee ?? []) {
    const rate = auto.rate / best.rate
    const p95 = auto.p95 / best.p95
    add(
      `max_concurrency: auto at a knee of ${knee}: 0.9 of the best fixed throughput, and 1.5 times its p95`,
      rate >= 0.9 && p95 <= 1.5,
      `${rate.toFixed(3)} of it, ${p95.toFixed(2)} times`,
    )
  }
  return checks
}

function sluiceRows(comparison: Comparison | null): Row[] {
  return comparison?.rows.filter(({ name }) => name.includes('Sluice')) ?? []
}
