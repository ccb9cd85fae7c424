import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { readCommit, readMachine } from './machine.ts'
import {
  measureCacheHits,
  measureEmbeddings,
  measureHandLatency,
  measureSluiceLatency,
} from './measure-requests.ts'
import { measureRound, REST_MS, type Round } from './measure-throughput.ts'
import { type BenchOptions, HELP, readOptions } from './options.ts'
import { type TracedCommand, traceCommands } from './redis-trace.ts'
import { renderReport } from './report.ts'
import { type BenchResult, type SystemResult, summarizeRounds } from './result.ts'
import { readScriptNames } from './script-names.ts'
import { openStage, type Stage } from './stage.ts'
import { listSystems, type System, type SystemName } from './systems.ts'

const options = readOptions(process.argv.slice(2), fileURLToPath(new URL('./results', import.meta.url)))
if (options === null) process.stdout.write(HELP)
else {
  const profile = options.profile === null ? null : resolve(options.profile)
  const names = await readScriptNames()
  const stage = await openStage({ concurrency: options.concurrency, profile })
  try {
    const result = await runBench(stage, options, names)
    const report = renderReport(result)
    process.stdout.write(`\n${report}`)
    if (options.out !== null) await writeResult(resolve(options.out), result, report)
  } finally {
    await stage.close()
  }
}

async function runBench(
  stage: Stage,
  options: BenchOptions,
  names: ReadonlyMap<string, string>,
): Promise<BenchResult> {
  const systems = listSystems(stage)
  const machine = await readMachine(stage.redis)
  let next = 0
  /** Each job is different, except where it has to be equal. */
  const number = (count: number) => {
    next += count
    return next - count
  }

  say('warming up')
  for (const system of systems) await system.run(number(options.warmUpJobs), options.warmUpJobs)
  const rounds = new Map<SystemName, Round[]>(systems.map(({ name }) => [name, []]))
  for (let round = 0; round < options.rounds; round++) {
    for (const system of takeTurns(systems, round)) {
      const measured = await measureRound(stage, system, number(options.jobs), options.jobs)
      rounds.get(system.name)!.push(measured)
      say(`round ${round + 1}: ${system.title}: ${Math.round(measured.jobsPerSecond)} jobs/s`)
    }
  }
  say('tracing Redis')
  const results: [SystemName, SystemResult][] = []
  for (const { name, title, run } of systems) {
    const count = options.tracedJobs
    const traced = await traceCommands(stage.redis, names, async () => {
      await run(number(count), count)
      await sleep(REST_MS)
    })
    const own = rounds.get(name)!
    const commandsPerJob = traced.filter(({ client }) => client.startsWith(name)).map(shareOf(count))
    results.push([name, { title, rounds: own, ...summarizeRounds(own), commandsPerJob }])
  }
  const byName = Object.fromEntries(results) as BenchResult['systems']

  say('one job at a time')
  const { latencyJobs } = options
  const latency = {
    sluice: await measureSluiceLatency(stage, number(latencyJobs), latencyJobs),
    hand: await measureHandLatency(stage, number(latencyJobs), latencyJobs),
  }
  say('cache hits and embeddings')
  const cacheHitsPerSecond = await measureCacheHits(stage, number(1), options.cacheHits)
  await measureEmbeddings(stage, number(options.warmUpJobs), options.warmUpJobs)
  const embeddings = await measureEmbeddings(stage, number(options.embeddingJobs), options.embeddingJobs)

  const { out: _out, profile: _profile, ...measured } = options
  const { sluice, hand } = byName
  return {
    at: new Date().toISOString(),
    commit: readCommit(),
    machine,
    options: measured,
    systems: byName,
    sluiceOverHand: sluice.jobsPerSecond / hand.jobsPerSecond,
    sluiceOverHandByRound: sluice.rounds.map(
      (round, index) => round.jobsPerSecond / hand.rounds[index]!.jobsPerSecond,
    ),
    latency,
    cacheHitsPerSecond,
    embeddings,
  }
}

/** Each round begins with another system, so that none profits from its place. */
function takeTurns(systems: System[], round: number): System[] {
  const first = round % systems.length
  return [...systems.slice(first), ...systems.slice(0, first)]
}

function shareOf(jobs: number) {
  return (command: TracedCommand): TracedCommand => ({
    ...command,
    calls: command.calls / jobs,
    microseconds: command.microseconds / jobs,
  })
}

async function writeResult(folder: string, result: BenchResult, report: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, `${result.at.slice(0, 10)}-${result.commit}`)
  await writeFile(`${path}.json`, `${JSON.stringify(result, null, 2)}\n`)
  await writeFile(`${path}.md`, report)
  say(`written: ${path}.md and .json`)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
