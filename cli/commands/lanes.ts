import type { Command } from 'commander'
import { type Run, server, toCount, toMilliseconds, toSeconds } from '../options.ts'

/** Commands about lanes: lanes, provider-batches, pause, resume. */
export function addLaneCommands(program: Command, run: Run): void {
  server(program.command('lanes'), '5s')
    .description('show how every lane stands (admin keys)')
    .option('-w, --watch [seconds]', 'again and again, every 2 s unless told', toSeconds)
    .action((options) => run(async (terminal) => (await import('../lanes.ts')).runLanes(terminal, options)))

  server(program.command('provider-batches'), '5s')
    .description('show the latest batches at providers (admin keys)')
    .option('--limit <batches>', 'at most so many (default: 100)', toCount)
    .action((options) =>
      run(async (terminal) => (await import('../provider-batches.ts')).runProviderBatches(terminal, options)),
    )

  for (const change of ['pause', 'resume'] as const) {
    const command = server(program.command(change), '5s')
      .description(
        change === 'pause'
          ? 'let no call leave a lane, or any lane of a provider (admin keys)'
          : 'end pauses of a lane, or of all lanes of a provider (admin keys)',
      )
      .argument('[lane]', 'provider/model')
      .option('--provider <provider>', 'all lanes of it')
    if (change === 'pause')
      command
        .option('--for <duration>', 'how long: 10m (default: until resumed)', toMilliseconds)
        .option('--reason <text>', 'what others are to know')
    command.action((lane, options) =>
      run(async (terminal) => (await import('../pause.ts')).runPause(terminal, change, lane, options)),
    )
  }
}
