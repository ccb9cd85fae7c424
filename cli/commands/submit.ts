import type { Command } from 'commander'
import { type Run, server, toCount } from '../options.ts'

/** Jobs that the server may hold ahead of the results: enough for the fastest lanes, with little memory. */
const DEFAULT_WINDOW = 10_000

/** Commands that send jobs and follow them: submit, tail, events. */
export function addSubmitCommands(program: Command, run: Run): void {
  server(program.command('submit'), '10m')
    .description('submit a file of jobs or OpenAI batch lines, and write their results in order')
    .argument('<file>', 'JSONL: one job or batch line per line')
    .option('-o, --out <path>', 'file for results; a later run resumes from it (default: stdout)')
    .option('--retry-failed', 'retry jobs that failed in an earlier run')
    .option(
      '--window <jobs>',
      'the most jobs that the server holds ahead of the results',
      toCount,
      DEFAULT_WINDOW,
    )
    .action((file, options) =>
      run(async (terminal) => (await import('../submit/command.ts')).runSubmit(terminal, file, options)),
    )

  server(program.command('tail'), '10m')
    .description('follow the events of a job or a group until it ends')
    .argument('<what>', 'job_… or the name of a group')
    .option('--last-event-id <id>', 'continue after this event')
    .action((what, options) =>
      run(async (terminal) => (await import('../tail.ts')).runTail(terminal, what, options)),
    )

  server(program.command('events'), '10m')
    .description('follow all events, or those that the options select, until interrupted')
    .option('--type <type>', 'events of jobs of this type, such as chat')
    .option('--group <group>', 'events of jobs of this group')
    .option('--lane <lane>', 'events of jobs of this lane: provider/model')
    .option('--flow <flow>', 'events of this flow and its jobs: flow_…')
    .option('--durable <id>', 'events of the jobs of this durable run')
    .option('--event <names>', 'events with these names: job.completed,job.failed')
    .option('--deltas', 'include the chunks of streams')
    .option('--from-first', 'start with the first stored event instead of new ones')
    .option('--last-event-id <id>', 'continue after this event')
    .action((options) => run(async (terminal) => (await import('../events.ts')).runEvents(terminal, options)))
}
