import type { Command } from 'commander'
import { DEFAULT_PAGE, type Run, server, toCount } from '../options.ts'

/** The command durable. */
export function addDurableCommands(program: Command, run: Run): void {
  const durable = program.command('durable').description('list, show, signal and delete durable functions')
  server(durable.command('list'), '5s')
    .description('list durable functions, newest first')
    .option('--limit <runs>', 'the most to show', toCount, DEFAULT_PAGE)
    .action((options) =>
      run(async (terminal) => (await import('../durable.ts')).runListDurable(terminal, options)),
    )

  server(durable.command('show'), '5s')
    .description('show the steps of a durable function')
    .argument('<id>')
    .action((id, options) =>
      run(async (terminal) => (await import('../durable.ts')).runShowDurable(terminal, id, options)),
    )

  server(durable.command('signal'), '5s')
    .description('send a value to a step')
    .argument('<id>')
    .argument('<name>', 'the name of the step')
    .argument('[value]', 'JSON', 'true')
    .action((id, name, value, options) =>
      run(async (terminal) =>
        (await import('../durable.ts')).runSignalDurable(terminal, id, name, value, options),
      ),
    )

  server(durable.command('delete'), '5s')
    .description('delete a durable function with its jobs')
    .argument('<id>')
    .action((id, options) =>
      run(async (terminal) => (await import('../durable.ts')).runDeleteDurable(terminal, id, options)),
    )
}
