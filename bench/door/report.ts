import { renderTable } from '../limits/table.ts'
import { PORTKEY_VERSION } from './portkey.ts'
import type { DoorResult, Row } from './result.ts'

/** The result as Markdown with aligned tables, which a terminal shows as well. */
export function renderReport({ machine, options, rows, checks, ...result }: DoorResult): string {
  const ways = [...Map.groupBy(rows, ({ concurrency, isStream }) => `${concurrency} ${isStream}`).values()]
  const proxy = options.withPortkey ? `Portkey's gateway ${PORTKEY_VERSION}` : 'no other gateway'
  return [
    `# The door, ${result.at.slice(0, 10)}, commit ${result.commit}`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}; Node ${machine.node}, ` +
      `Redis ${machine.redis}, ${proxy}; load ${machine.loadBefore} before and ${result.loadAfter} after.`,
    `The upstream answers in ${options.latencyMs} ms. Medians of ${options.rounds} rounds of ${options.cellMs} ms for each ` +
      'system and way; *added* is against the upstream of the same round, *CPU* all between client and upstream.',
    ...ways.flatMap(renderWay),
    '## Goals',
    checks.map(({ goal, verdict, found }) => `- ${verdict} ${goal}: ${found}`).join('\n'),
    '',
  ].join('\n\n')
}

function renderWay(rows: Row[]): string[] {
  const { concurrency, isStream } = rows[0]!
  return [
    `## ${isStream ? 'Streams until their first chunk' : 'Whole answers'}, ${concurrency} at once`,
    renderTable(
      ['', 'p50', 'p99', 'added to p50', 'calls a second', 'CPU a call'],
      rows.map((row) => [
        row.title,
        `${row.p50Ms.toFixed(2)} ms`,
        `${row.p99Ms.toFixed(2)} ms`,
        row.system === 'upstream' ? '–' : `${row.addedMs.toFixed(2)} ms`,
        String(Math.round(row.perSecond)),
        renderCpu(row.cpuMs),
      ]),
    ),
  ]
}

function renderCpu(parts: Record<string, number>): string {
  const times = Object.entries(parts)
  if (times.length === 0) return '–'
  const sum = `${times.reduce((total, [, ms]) => total + ms, 0).toFixed(2)} ms`
  return times.length === 1
    ? sum
    : `${sum} (${times.map(([part, ms]) => `${part} ${ms.toFixed(2)}`).join(', ')})`
}
