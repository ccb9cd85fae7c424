import type { BenchResult, SystemResult } from './result.ts'

/** Rows of the tables of commands; the ones left out are below a hundredth of these. */
const MOST_COMMANDS = 12

/** The result as Markdown with aligned tables, which a terminal shows as well. */
export function renderReport(result: BenchResult): string {
  const { machine, options, latency, embeddings, sluiceOverHandByRound } = result
  const systems = Object.values(result.systems)
  const { sluice, hand } = result.systems
  const packages = Object.entries(machine.packages).map(([name, version]) => `${name} ${version}`)
  return [
    `# Bench of ${result.at.slice(0, 10)}, commit ${result.commit}`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}; Node ${machine.node}, ` +
      `Redis ${machine.redis}; ${packages.join(', ')}.`,
    `${options.jobs} jobs a round, ${options.rounds} rounds in turns, medians; ${options.concurrency} calls at once; ` +
      `the upstream answers at once. Load of the machine before: ${machine.loadBefore}.` +
      (options.quick ? ' **A smoke run: too short for its numbers to mean anything.**' : ''),
    '## Throughput, from first submission to last completion',
    table(
      ['', 'jobs/s', 'of b', 'by round'],
      systems.map((one) => [
        one.title,
        whole(one.jobsPerSecond),
        (one.jobsPerSecond / hand.jobsPerSecond).toFixed(2),
        one.rounds.map((round) => whole(round.jobsPerSecond)).join(' '),
      ]),
    ),
    `Sluice over the queue built by hand: **${result.sluiceOverHand.toFixed(2)}** ` +
      `(by round: ${sluiceOverHandByRound.map((ratio) => ratio.toFixed(2)).join(', ')}).`,
    '## What a job costs',
    table(
      ['', 'script calls', 'commands, inner ones too', 'bytes to Redis', 'bytes from Redis', 'bytes kept'],
      systems.map(({ title, perJob }) => [
        title,
        perJob.scriptCalls.toFixed(2),
        perJob.commands.toFixed(1),
        whole(perJob.bytesIn),
        whole(perJob.bytesOut),
        whole(perJob.memory),
      ]),
    ),
    '## CPU a job by process, ms',
    table(
      ['', 'producer or API', 'worker', 'Redis', 'upstream', 'all but the upstream'],
      systems.map((system) => {
        const { title, perJob } = system
        const { cpuMs } = perJob
        const all = cpuOf(system)
        const parts = [cpuMs.producer ?? cpuMs.api, cpuMs.worker, cpuMs.redis, cpuMs.upstream, all]
        return [title, ...parts.map((ms) => (ms ?? 0).toFixed(3))]
      }),
    ),
    `A job of Sluice takes **${(cpuOf(sluice) / cpuOf(hand)).toFixed(2)} times** the CPU of one of the queue built by ` +
      'hand, without the upstream. Where other work shares the machine, this says more than jobs a second.',
    `## Where Redis' time goes, a job`,
    ...[sluice, hand].flatMap((system) => [`${system.title}:`, commandTable(system)]),
    '## One job at a time, and without calls',
    table(
      ['', 'p50', 'p99', 'script calls'],
      [
        [
          `Sluice: \`POST /v1/jobs\`, then \`GET …?wait\` (${latency.sluice.jobs} chat jobs)`,
          milliseconds(latency.sluice.p50Ms),
          milliseconds(latency.sluice.p99Ms),
          latency.sluice.scriptCalls.toFixed(1),
        ],
        [
          `by hand: add, then \`waitUntilFinished\` (${latency.hand.jobs})`,
          milliseconds(latency.hand.p50Ms),
          milliseconds(latency.hand.p99Ms),
          latency.hand.scriptCalls.toFixed(1),
        ],
      ],
    ),
    `Cache hits: **${whole(result.cacheHitsPerSecond)}/s** (identical \`POST /v1/jobs\`, 32 clients). ` +
      `Coalesced embeddings: **${whole(embeddings.jobsPerSecond)} jobs/s**, ${embeddings.jobs} jobs in ` +
      `${embeddings.providerRequests} provider requests.`,
    '',
  ].join('\n\n')
}

/** Milliseconds a job, of all processes except the upstream. */
function cpuOf({ perJob }: SystemResult): number {
  const { upstream: _, ...cpuMs } = perJob.cpuMs
  return Object.values(cpuMs).reduce((sum, ms) => sum + ms, 0)
}

function commandTable({ commandsPerJob }: SystemResult): string {
  const total = commandsPerJob.reduce((sum, one) => sum + one.microseconds, 0)
  const shown = commandsPerJob.filter((one) => one.calls >= 0.01).slice(0, MOST_COMMANDS)
  return table(
    ['connection', 'script or command', 'calls', 'µs', 'share'],
    shown.map(({ client, name, calls, microseconds }) => [
      client,
      name,
      calls.toFixed(2),
      microseconds.toFixed(1),
      `${whole((microseconds / total) * 100)} %`,
    ]),
  )
}

/** The first column, and columns of names, are aligned left; numbers right. */
function table(head: string[], rows: string[][]): string {
  const widths = head.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => row[column]!.length)),
  )
  const isNumber = head.map(
    (_, column) => column > 0 && rows.every((row) => /^-?[\d.,]+( \S+)?$/.test(row[column]!)),
  )
  const line = (cells: string[]) =>
    `| ${cells.map((cell, column) => (isNumber[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!))).join(' | ')} |`
  const rule = widths.map((width, column) =>
    isNumber[column] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  )
  return [line(head), line(rule), ...rows.map(line)].join('\n')
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}

function milliseconds(value: number): string {
  return `${value.toFixed(1)} ms`
}
