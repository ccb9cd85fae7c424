import type { Command } from 'commander'
import { DEFAULT_PAGE, type Run, server, toCount } from '../options.ts'

/** Commands for state and statistics: health, usage, groups. */
export function addUsageCommands(program: Command, run: Run): void {
  server(program.command('health'), '5s')
    .description('check whether the server accepts jobs, and whether its history answers')
    .action((options) => run(async (terminal) => (await import('../health.ts')).runHealth(terminal, options)))

  server(program.command('usage'), '5s')
    .description('show tokens and costs by day, tenant or model; needs a history')
    .option('--from <day>', '2026-12-01 (default: 30 days ago)')
    .option('--to <day>', 'the last day (default: today)')
    .option('--by <names>', 'one or more of day,tenant,model,tier,fair_key', 'day')
    .option('--top <rows>', 'show only the most expensive rows, and the rest as one', toCount)
    .action((options) => run(async (terminal) => (await import('../usage.ts')).runUsage(terminal, options)))

  server(program.command('groups'), '5s')
    .description('show groups of jobs and their progress')
    .option('--limit <groups>', 'the most to show', toCount, DEFAULT_PAGE)
    .action((options) => run(async (terminal) => (await import('../groups.ts')).runGroups(terminal, options)))
}
