/**
 * How much of a provider's limit is used, and how often it is hit: the same calls sent in five ways, and Sluice's
 * goals. `npm run bench:limits -- --help` lists the options; docs/performance.md says what is measured and why.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { measureFairness, measureForecasts } from './limits/backlog.ts'
import { checkGoals } from './limits/checks.ts'
import { type Comparison, compareClients, SCENARIOS } from './limits/compare.ts'
import { measureFairKeys } from './limits/fair-keys.ts'
import { measureFamilies } from './limits/families.ts'
import { measureKnee } from './limits/knee.ts'
import { HELP, type LimitsOptions, type Part, readOptions } from './limits/options.ts'
import { renderReport } from './limits/report.ts'
import type { LimitsResult } from './limits/result.ts'
import { measureSources } from './limits/sources.ts'
import { measureSteady } from './limits/steady.ts'
import { measureWays } from './limits/ways.ts'
import { type Machine, readCommit, readMachine } from './machine.ts'

const options = readOptions(process.argv.slice(2), fileURLToPath(new URL('./results', import.meta.url)))
if (options === null) process.stdout.write(HELP)
else {
  const result = await run(options)
  const report = renderReport(result)
  process.stdout.write(`\n${report}`)
  if (options.out !== null) await writeResult(resolve(options.out), result, report)
  if (result.checks.some(({ holds }) => !holds)) process.exitCode = 1
}

async function run({ parts }: LimitsOptions): Promise<LimitsResult> {
  const wants = (part: Part) => parts.includes(part)
  const at = new Date().toISOString()
  const machine = await readOwnMachine()
  const compared = (['compare', 'half', 'shared'] as const).filter(wants)
  const scenarios = compared.map((part) => SCENARIOS[part])
  const comparisons = scenarios.length === 0 ? [] : await compareClients(scenarios, say)
  const find = (part: keyof typeof SCENARIOS): Comparison | null =>
    comparisons.find(({ title }) => title === SCENARIOS[part].title) ?? null
  const result = {
    at,
    commit: readCommit(),
    compare: find('compare'),
    half: find('half'),
    shared: find('shared'),
    steady: wants('steady') ? await measureSteady(say) : null,
    families: wants('families') ? await measureFamilies(say) : null,
    sources: wants('sources') ? await measureSources(say) : null,
    ways: wants('ways') ? await measureWays(say) : null,
    fairness: wants('fairness') ? await measureFairness(say) : null,
    keys: wants('keys') ? await measureFairKeys(say) : null,
    eta: wants('eta') ? await measureForecasts(say) : null,
    knee: wants('knee') ? await measureKnee(say) : null,
    machine,
    loadAfter: Number(loadavg()[0]!.toFixed(2)),
  }
  return { ...result, checks: checkGoals(result) }
}

/** The machine, with the version of the Redis that every Sluice here uses. */
async function readOwnMachine(): Promise<Machine> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-limits-'))
  const server = await startEmbeddedRedis({ directory })
  const redis = new Redis(server.url)
  try {
    return await readMachine(redis)
  } finally {
    redis.disconnect()
    await server.close()
    await rm(directory, { recursive: true, force: true })
  }
}

async function writeResult(folder: string, result: LimitsResult, report: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, `limits-${result.at.slice(0, 10)}-${result.commit}`)
  await writeFile(`${path}.json`, `${JSON.stringify(result, null, 2)}\n`)
  await writeFile(`${path}.md`, report)
  say(`written: ${path}.md and .json`)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
