import type { Break } from './break.ts'

/** At least this share of the tried breaks has to be caught. */
const GOAL = 0.95

/** `untrue`: its text does not occur once in its file, or its tests do not exist. */
export type Verdict = 'caught' | 'survived' | 'untrue'

export type Result = { one: Break; verdict: Verdict; detail: string }

/** True if the goal is reached, each survivor has a reason, and no break is invalid. */
export function isSound(results: readonly Result[]): boolean {
  const isExplained = ({ one, verdict }: Result) =>
    verdict === 'caught' ? one.survives === undefined : verdict === 'survived' && one.survives !== undefined
  return results.every(isExplained) && shareCaught(results) >= GOAL
}

export function renderSummary(results: readonly Result[]): string {
  const count = (verdict: Verdict) => results.filter((one) => one.verdict === verdict).length
  const share = (100 * shareCaught(results)).toFixed(1)
  const lines = [
    `${count('caught')} of ${results.length} breaks caught, ${share}%; the goal is ${100 * GOAL}%`,
  ]
  for (const { one, verdict, detail } of results) {
    const name = `${one.file}: ${one.says}`
    if (verdict === 'survived')
      lines.push(`survived  ${name}\n          ${one.survives ?? 'without a reason'}`)
    else if (verdict === 'untrue') lines.push(`untrue    ${name}\n          ${detail}`)
    else if (one.survives !== undefined)
      lines.push(`caught    ${name}\n          said to survive: ${one.survives}`)
  }
  return `${lines.join('\n')}\n`
}

function shareCaught(results: readonly Result[]): number {
  return results.filter(({ verdict }) => verdict === 'caught').length / Math.max(1, results.length)
}
