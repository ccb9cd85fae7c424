import type { Command } from 'commander'
import { DEFAULT_PAGE, type Run, server, toCount } from '../options.ts'

/** The command schedules. */
export function addScheduleCommands(program: Command, run: Run): void {
  const schedules = program.command('schedules').description('list, create, pause, run and delete schedules')
  const load = () => import('../schedules.ts')
  server(schedules.command('list'), '5s')
    .description('list schedules, newest first')
    .option('--limit <schedules>', 'the most to show', toCount, DEFAULT_PAGE)
    .action((options) => run(async (terminal) => (await load()).runList(terminal, options)))

  server(schedules.command('show'), '5s')
    .description('show a schedule with its next slots')
    .argument('<id>')
    .action((id, options) => run(async (terminal) => (await load()).runShow(terminal, id, options)))

  server(schedules.command('create'), '5s')
    .description('create a schedule from a JSON file, as for POST /v1/schedules')
    .argument('<file>', 'or - for stdin')
    .action((file, options) => run(async (terminal) => (await load()).runCreate(terminal, file, options)))

  for (const [name, isPaused] of [
    ['pause', true],
    ['resume', false],
  ] as const) {
    server(schedules.command(name), '5s')
      .description(isPaused ? 'pause schedules' : 'resume schedules with their next slot')
      .argument('<id...>')
      .action((ids, options) =>
        run(async (terminal) => (await load()).runPause(terminal, ids, isPaused, options)),
      )
  }

  server(schedules.command('run'), '5s')
    .description('run schedules once now, in addition to their slots')
    .argument('<id...>')
    .action((ids, options) => run(async (terminal) => (await load()).runNow(terminal, ids, options)))

  server(schedules.command('runs'), '5s')
    .description('list the past slots of a schedule and their jobs, newest first')
    .argument('<id>')
    .option('--limit <runs>', 'the most to show', toCount, DEFAULT_PAGE)
    .action((id, options) => run(async (terminal) => (await load()).runRuns(terminal, id, options)))

  server(schedules.command('delete'), '5s')
    .description('delete schedules; their jobs stay')
    .argument('<id...>')
    .action((ids, options) => run(async (terminal) => (await load()).runDelete(terminal, ids, options)))
}
