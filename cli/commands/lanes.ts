import type { Command } from 'commander'
import { type Run, server, toCount, toMilliseconds, toSeconds } from '../options.ts'

/** Commands about lanes: lanes, provider-batches, pause, resume. */
export function addLaneCommands(program: Command, run: Run): void {
  server(program.command('lanes'), '5s')
    .description('show the state of every lane (admin keys)')
    .option('-w, --watch [seconds]', 'repeat every 2 s, or every so many seconds', toSeconds)
    .action((options) => run(async (terminal) => (await import('../lanes.ts')).runLanes(terminal, options)))

  server(program.command('provider-batches'), '5s')
    .description('show the latest provider batches (admin keys)')
    .option('--limit <batches>', 'the most to show (default: 100)', toCount)
    .action((options) =>
      run(async (terminal) => (await import('../provider-batches.ts')).runProviderBatches(terminal, options)),
    )

  for (const change of ['pause', 'resume'] as const) {
    const command = server(program.command(change), '5s')
      .description(
        change === 'pause'
          ? 'stop new calls of some lanes, or of all lanes of a provider (admin keys)'
          : 'end the pause of some lanes, or of all lanes of a provider (admin keys)',
      )
      .argument('[lanes...]', 'provider/model')
      .option('--provider <provider>', 'all lanes of this provider')
    if (change === 'pause')
      command
        .option('--for <duration>', 'how long: 10m (default: until resumed)', toMilliseconds)
        .option('--reason <text>', 'a reason that others can read')
    command.action((lanes, options) =>
      run(async (terminal) => (await import('../pause.ts')).runPause(terminal, change, lanes, options)),
    )
  }
}
