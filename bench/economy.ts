/**
 * What deadlines are worth: 10,000 jobs with 15 minutes to 24 hours each, always at standard, always in batches, and with `"tier": "auto"`, in scaled time: what
 * each way costs, against the cheapest that was possible in time, and the deadlines that it misses. `npm run bench:economy -- --help` lists the options.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { measureWay, WAYS, type Way, type WayResult } from './economy/measure.ts'
import { checkGoals, type EconomyResult, renderReport } from './economy/report.ts'
import { createWorld } from './economy/world.ts'
import { type Machine, readCommit } from './machine.ts'

const HELP = `npm run bench:economy -- [options]

  --jobs N      (default 10000)
  --scale N     times as fast as the clock (default 120: six hours in three minutes)
  --way WAY     ${WAYS.join(', ')}; may be repeated (default: all)
  --seed N      (default 1)
  --no-out      writes no file to bench/results
`
const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: '10000' },
    scale: { type: 'string', default: '120' },
    way: { type: 'string', multiple: true, default: [...WAYS] },
    seed: { type: 'string', default: '1' },
    'no-out': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) process.stdout.write(HELP)
else {
  const result = await run(
    Number(values.jobs),
    Number(values.scale),
    Number(values.seed),
    values.way as Way[],
  )
  const report = renderReport(result)
  process.stdout.write(`\n${report}`)
  if (!values['no-out']) await writeResult(result, report)
  if (result.checks.some(({ holds }) => !holds)) process.exitCode = 1
}

async function run(jobs: number, scale: number, seed: number, wanted: Way[]): Promise<EconomyResult> {
  const world = createWorld(jobs, seed)
  const ways: WayResult[] = []
  let machine: Machine | null = null
  for (const way of WAYS.filter((one) => wanted.includes(one))) {
    const measured = await measureWay(way, world, scale, say)
    machine ??= measured.machine
    ways.push(measured.result)
    say(JSON.stringify(measured.result))
  }
  if (machine === null) throw new Error(`no such way; there are ${WAYS.join(', ')}`)
  return {
    ...{ at: new Date().toISOString(), commit: readCommit(), machine, jobs, scale, seed, ways },
    loadAfter: Number(loadavg()[0]!.toFixed(2)),
    checks: checkGoals(ways),
  }
}

async function writeResult(result: EconomyResult, report: string): Promise<void> {
  const folder = fileURLToPath(new URL('./results', import.meta.url))
  await mkdir(folder, { recursive: true })
  const path = join(folder, `economy-${result.at.slice(0, 10)}-${result.commit}`)
  await writeFile(`${path}.json`, `${JSON.stringify(result, null, 2)}\n`)
  await writeFile(`${path}.md`, report)
  say(`written: ${path}.md and .json`)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
