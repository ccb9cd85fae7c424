import { type Command, Option } from 'commander'
import { DEFAULT_PAGE, type Run, server, toCount, toTime } from '../options.ts'

/** Commands about jobs: jobs, cancel. */
export function addJobCommands(program: Command, run: Run): void {
  const jobs = program.command('jobs').description('list, show, cancel and retry jobs')
  server(jobs.command('list'), '5s')
    .description('list jobs, newest first')
    .option('--status <status>', 'scheduled, queued, running, completed, failed or cancelled')
    .option('--type <type>', 'chat, response or embedding')
    .option('--group <group>')
    .option('--lane <lane>', 'provider/model')
    .option('--model <model>', 'the model as the job named it')
    .option('--error-code <code>')
    .option('--metadata <pair...>', 'name=value')
    .option('--created-after <time>', 'a time, or how long ago: 2h', toTime)
    .option('--created-before <time>', 'a time, or how long ago: 2h', toTime)
    .option('--min-cost-usd <usd>')
    .option('--limit <jobs>', 'the most to show', toCount, DEFAULT_PAGE)
    .option('--results', 'include results; needs --json')
    .action((options) => run(async (terminal) => (await import('../jobs.ts')).runList(terminal, options)))

  server(jobs.command('show'), '5s')
    .description('show a job with its result')
    .argument('<id>')
    .option('--attempts', 'include every call made for the job')
    .action((id, options) =>
      run(async (terminal) => (await import('../jobs.ts')).runShow(terminal, id, options)),
    )

  server(jobs.command('cancel'), '5s')
    .description('cancel jobs')
    .argument('<id...>')
    .action((ids, options) =>
      run(async (terminal) => (await import('../jobs.ts')).runCancel(terminal, ids, options)),
    )

  server(jobs.command('retry'), '5s')
    .description('queue failed or cancelled jobs again; without ids, all failed jobs that the options select')
    .argument('[id...]')
    .option('--group <group>')
    .option('--lane <lane>', 'provider/model')
    .option('--error-code <code>')
    .option('--limit <jobs>', 'the most to show', toCount)
    .action((ids, options) =>
      run(async (terminal) => (await import('../jobs.ts')).runRetry(terminal, ids, options)),
    )

  server(program.command('cancel'), '5s')
    .description('cancel open jobs, selected by options')
    .addOption(new Option('--status <status>').choices(['scheduled', 'queued', 'running']))
    .option('--type <type>', 'chat, response or embedding')
    .option('--group <group>')
    .option('--lane <lane>', 'provider/model')
    .option('--provider <provider>', 'all lanes of this provider')
    .option('--schedule <id>', 'sch_…: jobs of this schedule')
    .option('--created-after <time>', 'a time, or how long ago: 2h', toTime)
    .option('--created-before <time>', 'a time, or how long ago: 2h', toTime)
    .option('--all', 'every open job; required without other options')
    .option('--limit <jobs>', 'at most so many, the newest jobs first (default: 100000)', toCount)
    .option('--dry-run', 'count the jobs and change nothing')
    .action((options) =>
      run(async (terminal) => (await import('../cancel.ts')).runCancelMany(terminal, options)),
    )
}
