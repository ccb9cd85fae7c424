import { type Command, Option } from 'commander'
import { DEFAULT_PAGE, type Run, server, toCount, toTime } from '../options.ts'

/** Commands about jobs: jobs, cancel. */
export function addJobCommands(program: Command, run: Run): void {
  const jobs = program.command('jobs').description('list, show, cancel and retry jobs')
  server(jobs.command('list'), '5s')
    .description('list jobs, newest first')
    .option('--status <status>', 'scheduled, queued, running, completed, failed or cancelled')
    .option('--type <type>', 'jobs of this type, such as chat or embedding')
    .option('--group <group>', 'jobs of this group')
    .option('--lane <lane>', 'jobs of this lane: provider/model')
    .option('--model <model>', 'jobs for this model, as they named it')
    .option('--error-code <code>', 'jobs with this error, such as timeout')
    .option('--metadata <pair...>', 'jobs with this metadata: name=value')
    .option('--created-after <time>', 'created at this time or later; or how long ago: 2h', toTime)
    .option('--created-before <time>', 'created before this time; or how long ago: 2h', toTime)
    .option('--min-cost-usd <usd>', 'jobs that cost at least this much')
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
    .description('retry failed or cancelled jobs; without ids, all failed jobs that the options select')
    .argument('[id...]')
    .option('--group <group>', 'jobs of this group')
    .option('--lane <lane>', 'jobs of this lane: provider/model')
    .option('--error-code <code>', 'jobs with this error, such as timeout')
    .option('--limit <jobs>', 'the most jobs, the oldest first', toCount)
    .action((ids, options) =>
      run(async (terminal) => (await import('../jobs.ts')).runRetry(terminal, ids, options)),
    )

  server(program.command('cancel'), '5s')
    .description('cancel open jobs that the options select')
    .addOption(
      new Option('--status <status>', 'jobs with this status').choices(['scheduled', 'queued', 'running']),
    )
    .option('--type <type>', 'jobs of this type, such as chat or embedding')
    .option('--group <group>', 'jobs of this group')
    .option('--lane <lane>', 'jobs of this lane: provider/model')
    .option('--provider <provider>', 'jobs of all lanes of this provider')
    .option('--schedule <id>', 'jobs of this schedule: sch_…')
    .option('--created-after <time>', 'created at this time or later; or how long ago: 2h', toTime)
    .option('--created-before <time>', 'created before this time; or how long ago: 2h', toTime)
    .option('--all', 'every open job; required if no other option selects jobs')
    .option('--limit <jobs>', 'the most jobs, the newest first (default: 100000)', toCount)
    .option('--dry-run', 'count the jobs and change nothing')
    .action((options) =>
      run(async (terminal) => (await import('../cancel.ts')).runCancelMany(terminal, options)),
    )
}
