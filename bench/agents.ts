/**
 * The seven scenarios of HiveMind (arXiv 2604.17111): 5 to 50 agents that share an API with limits and faults, each of which dies of the first error that it sees.
 * All scenarios run at once, first without anything in between, then through Sluice. `npm run bench:agents -- --help` lists the options. It exits with 1 if an agent
 * dies behind Sluice.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type AgentsReport, renderReport, type ScenarioResult } from './agents/report.ts'
import { runAgents } from './agents/run-agents.ts'
import { configureProvider, SCENARIOS, simulate } from './agents/scenarios.ts'
import { readCommit } from './machine.ts'
import { openService } from './service.ts'

const HELP = `npm run bench:agents -- [options]

  --scenario NAME   ${SCENARIOS.map(({ name }) => name).join(', ')}; may be repeated (default: all)
  --scale N         times as fast as the clock (default 1: eleven minutes)
  --seed N          of the faults (default 1)
  --out DIR         where the results are written (default bench/results)
  --no-out          writes no file
`
const { values } = parseArgs({
  options: {
    scenario: { type: 'string', multiple: true, default: SCENARIOS.map(({ name }) => name) },
    scale: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: join(import.meta.dirname, 'results') },
    'no-out': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) process.stdout.write(HELP)
else {
  const [scale, seed] = [Number(values.scale), Number(values.seed)]
  const scenarios = SCENARIOS.filter(({ name }) => values.scenario.includes(name))
  if (scenarios.length === 0 || !(scale > 0) || !Number.isInteger(seed)) throw new TypeError(HELP)
  const results = await run(scenarios, scale, seed)
  const report = {
    ...{ at: new Date().toISOString(), commit: readCommit(), node: process.versions.node },
    ...{ scale, seed, results },
  }
  const text = renderReport(report)
  process.stdout.write(`\n${text}`)
  if (!values['no-out']) await writeReport(report, text)
  if (results.some(({ sluice }) => sluice.died > 0)) process.exitCode = 1
}

async function run(scenarios: typeof SCENARIOS, scale: number, seed: number): Promise<ScenarioResult[]> {
  const service = await openService({
    name: 'agents',
    upstreams: Object.fromEntries(
      scenarios.map((scenario) => [scenario.name, simulate(scenario, scale, seed)]),
    ),
    configure: (urls) => ({
      providers: Object.fromEntries(
        scenarios.map((scenario) => [
          scenario.name,
          configureProvider(scenario, urls[scenario.name]!, scale),
        ]),
      ),
    }),
  })
  try {
    return await Promise.all(
      scenarios.map(async (scenario): Promise<ScenarioResult> => {
        const simulator = service.simulators[scenario.name]!
        const direct = await runAgents(scenario, { url: service.urls[scenario.name]!, model: 'm', scale })
        say(`${scenario.name}: ${direct.died} of ${direct.agents} died without Sluice`)
        // The same API with all of its limits free, and the same faults.
        simulator.reset()
        const url = `${service.url}/v1`
        const sluice = await runAgents(scenario, { url, model: `${scenario.name}/m`, scale })
        say(`${scenario.name}: ${sluice.died} of ${sluice.agents} died behind Sluice`)
        const { rejected } = simulator.state()
        const refused = rejected.requests + rejected.tokens + rejected.concurrency
        return { scenario, direct, sluice, refused }
      }),
    )
  } finally {
    await service.close()
  }
}

async function writeReport(report: AgentsReport, text: string): Promise<void> {
  const folder = values.out
  await mkdir(folder, { recursive: true })
  const path = join(folder, `agents-${report.at.slice(0, 10)}-${report.commit}`)
  await writeFile(`${path}.json`, `${JSON.stringify(report, null, 2)}\n`)
  await writeFile(`${path}.md`, text)
  say(`written: ${path}.md and .json`)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
