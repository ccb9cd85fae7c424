import { renderTable } from '../limits/table.ts'
import type { AgentsResult } from './run-agents.ts'
import type { Scenario } from './scenarios.ts'

export type ScenarioResult = {
  scenario: Scenario
  direct: AgentsResult
  sluice: AgentsResult
  /** Calls that the API refused for its limits with Sluice in front of it. */
  refused: number
}

export type AgentsReport = {
  at: string
  commit: string
  node: string
  scale: number
  seed: number
  results: ScenarioResult[]
}

/** The result as Markdown with aligned tables, which a terminal shows as well. */
export function renderReport({ at, commit, node, scale, seed, results }: AgentsReport): string {
  const speed = scale === 1 ? 'by the clock' : `${scale} times as fast as the clock`
  return `${[
    `# Agents, ${at.slice(0, 10)}, commit ${commit}`,
    `Node ${node}, ${speed}, seed ${seed}. Agents that ended at the first error they saw, beside the published values of HiveMind.`,
    renderTable(
      [
        ...['scenario', 'agents', 'direct', 'published', 'through Sluice', 'HiveMind'],
        ...['tokens wasted', 'took', '429s'],
      ],
      results.map(({ scenario, direct, sluice, refused }) => [
        scenario.name,
        String(scenario.agents),
        share(direct),
        `${scenario.published.direct}%`,
        share(sluice),
        `${scenario.published.hivemind}%`,
        `${direct.wastedTokens} → ${sluice.wastedTokens}`,
        `${sluice.seconds.toFixed(0)} s`,
        String(refused),
      ]),
    ),
    ...results
      .filter(({ sluice }) => sluice.died > 0)
      .map(({ scenario, sluice }) => `- FAIL: ${scenario.name}: ${JSON.stringify(sluice.errors)}`),
  ].join('\n\n')}\n`
}

function share({ died, agents }: AgentsResult): string {
  return `${Math.round((100 * died) / agents)}%`
}
