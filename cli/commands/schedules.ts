import type { Command } from 'commander'
import { DEFAULT_PAGE, type Run, server, toCount } from '../options.ts'

/** The command schedules. */
export function addScheduleCommands(program: Command, run: Run): void {
  const schedules = program
    .command('schedules')
    .description('jobs at times or at intervals: list, make, pause, run them')
  const load = () => import('../schedules.ts')
  server(schedules.command('list'), '5s')
    .description('list schedules, newest first')
    .option('--limit <schedules>', 'at most so many', toCount, DEFAULT_PAGE)
    .action((options) => run(async (terminal) => (await load()).runList(terminal, options)))

  server(schedules.command('show'), '5s')
    .description('show a schedule with its next slots')
    .argument('<id>')
    .action((id, options) => run(async (terminal) => (await load()).runShow(terminal, id, options)))

  server(schedules.command('create'), '5s')
    .description('make a schedule of a file of JSON, as POST /v1/schedules takes it')
    .argument('<file>', 'or - for stdin')
    .action((file, options) => run(async (terminal) => (await load()).runCreate(terminal, file, options)))

  for (const [name, isPaused] of [
    ['pause', true],
    ['resume', false],
  ] as const) {
    server(schedules.command(name), '5s')
      .description(isPaused ? 'run no more slots for now' : 'go on with the next slot')
      .argument('<id...>')
      .action((ids, options) =>
        run(async (terminal) => (await load()).runPause(terminal, ids, isPaused, options)),
      )
  }

  server(schedules.command('run'), '5s')
    .description('make the job now, beside the slots')
    .argument('<id...>')
    .action((ids, options) => run(async (terminal) => (await load()).runNow(terminal, ids, options)))

  server(schedules.command('runs'), '5s')
    .description('list what became of the slots, newest first')
    .argument('<id>')
    .option('--limit <runs>', 'at most so many', toCount, DEFAULT_PAGE)
    .action((id, options) => run(async (terminal) => (await load()).runRuns(terminal, id, options)))

  server(schedules.command('delete'), '5s')
    .description('forget schedules; their jobs stay')
    .argument('<id...>')
    .action((ids, options) => run(async (terminal) => (await load()).runDelete(terminal, ids, options)))
}
