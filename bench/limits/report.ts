import type { Comparison } from './compare.ts'
import type { LimitsResult } from './result.ts'
import { renderTable } from './table.ts'
import type { Shares } from './timeline.ts'
import { LATENCY, LIMITS } from './workload.ts'

/** The result as Markdown whose tables are aligned, so that a terminal shows it as well. */
export function renderReport(result: LimitsResult): string {
  const { machine, loadAfter, steady, families, sources, ways, fairness, keys, eta, knee } = result
  const comparisons = [result.compare, result.half, result.shared].filter((one) => one !== null)
  return [
    `# Limits, ${result.at.slice(0, 10)}, commit ${result.commit}`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}; Node ${machine.node}, ` +
      `Redis ${machine.redis}; load ${machine.loadBefore} before and ${loadAfter} after.`,
    `The upstream grants ${LIMITS.requests_per_minute.toLocaleString('en')} requests and ` +
      `${LIMITS.tokens_per_minute.toLocaleString('en')} tokens a minute and answers in ${LATENCY.least} to ` +
      `${LATENCY.least + LATENCY.jitter} ms.`,
    ...comparisons.flatMap(renderComparison),
    ...(steady === null
      ? []
      : [
          '## Two minutes of more work than the limit, every window counted strictly',
          renderTable(
            ['', 'requests, 2nd minute', 'tokens', 'requests, 1st minute', 'tokens', '429s'],
            steady.map(({ name, shares, firstShares, refused }) => [
              name,
              shares.requests.toFixed(3),
              shares.tokens.toFixed(3),
              firstShares.requests.toFixed(3),
              firstShares.tokens.toFixed(3),
              String(refused),
            ]),
          ),
        ]),
    ...(families === null
      ? []
      : [
          '## Two lanes that share a limit, every window counted strictly',
          `${families.shares.requests.toFixed(3)} of the requests and ${families.shares.tokens.toFixed(3)} of the tokens were used in the ` +
            `second minute, by ${Object.entries(families.lanes)
              .map(([name, share]) => `${name} ${share.toFixed(2)}`)
              .join(' and ')}, with ${families.refused} 429s.`,
        ]),
    ...(sources === null
      ? []
      : [
          '## Three sources with different limits, every window counted strictly',
          `${sources.shares.requests.toFixed(3)} of the requests and ${sources.shares.tokens.toFixed(3)} of the tokens of all three were used ` +
            `in the second minute, by ${Object.entries(sources.keys)
              .map(([name, share]) => `${name} ${share.toFixed(2)}`)
              .join(', ')}, with ${sources.refused} 429s.`,
        ]),
    ...(ways === null
      ? []
      : [
          '## Six ways of enforcement, nothing configured but the limits',
          renderTable(
            ['limits like', 'of what they admit, 2nd half-minute', '429s'],
            ways.map(({ name, share, refused }) => [name, share.toFixed(3), String(refused)]),
          ),
        ]),
    ...(fairness === null
      ? []
      : [
          '## A quiet tenant behind a noisy one',
          `${fairness.quietJobs} jobs behind ${fairness.noisyJobs.toLocaleString('en')} of another tenant ended after ` +
            `**${fairness.seconds.toFixed(1)} s**; at half of the limit they take ${fairness.idealSeconds.toFixed(1)} s.`,
        ]),
    ...(keys === null
      ? []
      : [
          '## Fair keys with limits of their own',
          `A lane with a job of each of ${keys.keys.toLocaleString('en')} keys used ${keys.share.toFixed(3)} of its limit; a waiting key takes ` +
            `${Math.round(keys.bytesPerKey)} bytes of Redis. ${keys.jobs} jobs of a key behind ${keys.flood.toLocaleString('en')} of another one ended ` +
            `after **${keys.seconds.toFixed(1)} s**.`,
        ]),
    ...(eta === null
      ? []
      : [
          '## Forecasts of a backlog of 1,000, asked for when it was queued',
          renderTable(
            ['job', 'forecast', 'started after', 'off'],
            eta.map(({ place, forecastSeconds, seconds, error }) => [
              `number ${place}`,
              `${forecastSeconds.toFixed(1)} s`,
              `${seconds.toFixed(1)} s`,
              `${(error * 100).toFixed(1)} %`,
            ]),
          ),
        ]),
    ...(knee === null
      ? []
      : [
          "## A server of one's own, whose hidden knee moves",
          renderTable(
            ['knee', 'auto, calls a second', 'p95', 'best fixed number', 'calls a second', 'p95'],
            knee.map((phase) => [
              String(phase.knee),
              phase.auto.rate.toFixed(2),
              `${phase.auto.p95.toFixed(2)} s`,
              String(phase.best.limit),
              phase.best.rate.toFixed(2),
              `${phase.best.p95.toFixed(2)} s`,
            ]),
          ),
        ]),
    '## Goals',
    result.checks
      .map(({ goal, holds, found }) => `- ${holds ? 'PASS' : 'FAIL'} ${goal}: ${found}`)
      .join('\n'),
    '',
  ].join('\n\n')
}

function renderComparison({ title, calls, rows }: Comparison): string[] {
  const isShared = rows.some((row) => row.second !== null)
  const head = ['', 'answered', 'failed', '429s', 'time', 'of the ideal', 'limit used', 'after 10 s']
  return [
    `## ${title}: ${calls.requests} calls of ${calls.tokens.toLocaleString('en')} tokens`,
    renderTable(
      isShared ? [...head, "second client's 429s"] : head,
      rows.map((row) => [
        row.name,
        String(row.answered),
        String(row.failed),
        String(row.refused),
        `${row.seconds.toFixed(1)} s`,
        // The time of calls that were given up says nothing.
        row.failed > 0 ? '–' : (row.seconds / row.idealSeconds).toFixed(2),
        share(row.shares),
        share(row.lateShares),
        ...(row.second === null ? [] : [`${row.second.refused} of ${row.second.sent}`]),
      ]),
    ),
  ]
}

function share(shares: Shares | null): string {
  return shares === null ? '–' : shares.most.toFixed(2)
}
