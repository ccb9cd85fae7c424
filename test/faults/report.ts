import { renderTable } from '../../bench/limits/table.ts'
import type { Outcome } from './fault.ts'
import { p99 } from './tally.ts'

/** A fault with its outcome; `error`: it could not be carried out. */
export type Result = { title: string; wallMs: number } & ({ outcome: Outcome } | { error: string })

export function isSound(result: Result): boolean {
  if ('error' in result) return false
  const { tally, broken } = result.outcome
  return tally.lost.size === 0 && tally.repeated.size === 0 && broken.length === 0
}

/** The table, the notes, and every promise that was broken. */
export function renderResults(results: readonly Result[]): string {
  const head = [
    'fault',
    'jobs',
    'lost (L)',
    'repeated (D)',
    'flagged',
    'paid again',
    'failed',
    'p99 until running again',
    'wall',
  ]
  const rows = results.map((result) => {
    const wall = seconds(result.wallMs)
    if ('error' in result) return [result.title, ...Array(head.length - 2).fill('–'), wall]
    const { tally, recoveriesMs } = result.outcome
    return [
      result.title,
      String(tally.jobs),
      String(tally.lost.size),
      String(sum(tally.repeated.values())),
      String(tally.flagged),
      String(tally.paidAgain),
      String(sum(tally.failed.values())),
      recoveriesMs.length === 0 ? '–' : seconds(p99(recoveriesMs) ?? 0),
      wall,
    ]
  })
  return [
    renderTable(head, rows),
    'L: accepted jobs without a terminal state. D: billed calls beyond one a job that are not flagged as ambiguous.',
    ...results.flatMap(describe),
    '',
  ].join('\n')
}

function describe(result: Result): string[] {
  if ('error' in result) return [`${result.title}: could not be carried out: ${result.error}`]
  const { tally, notes, broken } = result.outcome
  const failed = [...tally.failed].map(([code, count]) => `${count} failed with ${code}`)
  const lines = [`${result.title}: ${[...notes, ...failed].join('; ')}`]
  for (const text of broken) lines.push(`  BROKEN: ${text}`)
  for (const [id, status] of tally.lost) lines.push(`  LOST: ${id}, ${status}`)
  for (const [id, count] of tally.repeated) lines.push(`  PAID AGAIN, not flagged: ${id} ×${count}`)
  return lines
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function sum(values: Iterable<number>): number {
  return [...values].reduce((total, value) => total + value, 0)
}
