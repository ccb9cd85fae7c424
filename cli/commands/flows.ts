import { type Command, Option } from 'commander'
import { DEFAULT_PAGE, type Run, server, toCount } from '../options.ts'

/** The command flows. */
export function addFlowCommands(program: Command, run: Run): void {
  const flows = program.command('flows').description('run, list, show, cancel, retry and signal flows')
  server(flows.command('run'), '10m')
    .description('create a flow, show its steps as they end, and print its output')
    .argument('<file>', 'YAML or JSON, as for POST /v1/flows')
    .option('--input <json>', 'replaces the input in the file')
    .option('--detach', 'print its id and do not wait')
    .action((file, options) =>
      run(async (terminal) => (await import('../flows.ts')).runFlow(terminal, file, options)),
    )

  server(flows.command('list'), '5s')
    .description('list flows, newest first')
    .addOption(
      new Option('--status <status>', 'flows with this status').choices([
        'running',
        'waiting',
        'completed',
        'failed',
        'cancelled',
      ]),
    )
    .option('--name <name>', 'flows with this name')
    .option('--limit <flows>', 'the most to show', toCount, DEFAULT_PAGE)
    .action((options) =>
      run(async (terminal) => (await import('../flows.ts')).runListFlows(terminal, options)),
    )

  server(flows.command('show'), '5s')
    .description('show the steps of a flow with their states')
    .argument('<id>')
    .action((id, options) =>
      run(async (terminal) => (await import('../flows.ts')).runShowFlow(terminal, id, options)),
    )

  for (const [change, description] of [
    ['cancel', 'end a flow at once, with its jobs'],
    ['retry', 'continue a failed or cancelled flow from the steps that failed'],
  ] as const) {
    server(flows.command(change), '5s')
      .description(description)
      .argument('<id>')
      .action((id, options) =>
        run(async (terminal) => (await import('../flows.ts')).runChangeFlow(terminal, id, change, options)),
      )
  }

  server(flows.command('signal'), '5s')
    .description('send a signal to a step')
    .argument('<id>')
    .argument('<step>')
    .argument('[value]', 'JSON', 'true')
    .action((id, step, value, options) =>
      run(async (terminal) =>
        (await import('../flows.ts')).runSignalFlow(terminal, id, step, value, options),
      ),
    )
}
