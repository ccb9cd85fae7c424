/**
 * What the door adds to a call: the same chat calls sent straight to the upstream, through a gateway that queues nothing,
 * and through Sluice. `npm run bench:door -- --help` lists the options; docs/performance.md says what is measured and why.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkGoals } from './door/checks.ts'
import { measureRound } from './door/measure.ts'
import { type DoorOptions, HELP, readOptions } from './door/options.ts'
import { renderReport } from './door/report.ts'
import { type DoorResult, type Measured, summarize } from './door/result.ts'
import { openStage } from './door/stage.ts'
import { type Machine, readCommit, readMachine } from './machine.ts'

const options = readOptions(process.argv.slice(2), fileURLToPath(new URL('./results', import.meta.url)))
if (options === null) process.stdout.write(HELP)
else {
  const result = await run(options)
  const report = renderReport(result)
  process.stdout.write(`\n${report}`)
  if (options.out !== null) await writeResult(resolve(options.out), result, report)
  if (!options.quick && result.checks.some(({ verdict }) => verdict === 'FAIL')) process.exitCode = 1
}

async function run(options: DoorOptions): Promise<DoorResult> {
  const { out: _out, profile: _profile, ...measured } = options
  const stage = await openStage(options, say)
  try {
    const machine: Machine = await readMachine(stage.redis)
    const rounds: Measured[][] = []
    say('warming up')
    await measureRound(stage.systems, { ...options, cellMs: options.warmUpMs }, say)
    for (let round = 0; round < options.rounds; round++) {
      // Each round begins with another system, so that none profits from its place.
      const first = round % stage.systems.length
      const order = [...stage.systems.slice(first), ...stage.systems.slice(0, first)]
      say(`round ${round + 1} of ${options.rounds}`)
      rounds.push(await measureRound(order, options, say))
    }
    const rows = summarize(
      stage.systems.map(({ name, title }) => ({ name, title })),
      rounds,
    )
    return {
      at: new Date().toISOString(),
      commit: readCommit(),
      machine,
      loadAfter: Number(loadavg()[0]!.toFixed(2)),
      options: measured,
      rows,
      rounds,
      checks: checkGoals(rows),
    }
  } finally {
    await stage.close()
  }
}

async function writeResult(folder: string, result: DoorResult, report: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, `door-${result.at.slice(0, 10)}-${result.commit}`)
  await writeFile(`${path}.json`, `${JSON.stringify(result, null, 2)}\n`)
  await writeFile(`${path}.md`, report)
  say(`written: ${path}.md and .json`)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
