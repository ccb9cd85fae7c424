import type { Command } from 'commander'
import { chooseFailed, type Run, server, toCount } from '../options.ts'

/** Commands about failed jobs: failures, redrive. */
export function addFailureCommands(program: Command, run: Run): void {
  const failures = program.command('failures')
  // Otherwise it would parse the options of its subcommand as its own.
  server(failures.enablePositionalOptions(), '5s')
    .description('show failed jobs by lane and error code')
    .action((options) =>
      run(async (terminal) => (await import('../failures.ts')).runFailures(terminal, options)),
    )

  chooseFailed(server(failures.command('export'), '5s'))
    .description('write failed jobs with their requests to a file that submit accepts')
    .argument('<out>', 'a new file, or - for stdout')
    .option('--limit <jobs>', 'the most jobs, the oldest first (default: 100000)', toCount)
    .action((out, options) =>
      run(async (terminal) => (await import('../failures.ts')).runExport(terminal, out, options)),
    )

  chooseFailed(server(program.command('redrive'), '5s'))
    .description('retry failed jobs that the options select')
    .option('--limit <jobs>', 'the most jobs, the oldest first (default: 10000)', toCount)
    .option('--dry-run', 'count the jobs and change nothing')
    .action((options) =>
      run(async (terminal) => (await import('../failures.ts')).runRedrive(terminal, options)),
    )
}
