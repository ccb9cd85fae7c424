import { type Command, Option } from 'commander'
import { keyOption, type Run, toCount } from '../options.ts'

const DEFAULT_OUTPUT_TOKENS = 256

/** Commands that need no server: plan, check-config. */
export function addPlanCommands(program: Command, run: Run): void {
  program
    .command('plan')
    .description('tell how long a file takes and what it costs under the present limits, without a call')
    .argument('<file>', 'JSONL: one job or batch line a line')
    .option('-c, --config <path>', 'configuration file (default: SLUICE_CONFIG, then ./sluice.yaml)')
    .addOption(
      new Option('--url <url>', 'count in the backlog and limits of this server')
        .env('SLUICE_URL')
        .argParser((text) => text || undefined),
    )
    .addOption(keyOption())
    .option(
      '--output-tokens <tokens>',
      'length of an answer whose body sets no cap',
      toCount,
      DEFAULT_OUTPUT_TOKENS,
    )
    .option('--json', 'print JSON for scripts')
    .action((file, options) =>
      run(async (terminal) => (await import('../plan/command.ts')).runPlan(terminal, file, options)),
    )

  program
    .command('check-config')
    .description('list every fault of a configuration file; 78 when there are any')
    .argument('[path]', 'default: SLUICE_CONFIG, then ./sluice.yaml')
    .option('--config <path>', 'the same, as other commands have it')
    .option('--json', 'print JSON for scripts')
    .action((path, options) =>
      run(async (terminal) =>
        (await import('../check-config.ts')).runCheckConfig(terminal, path ?? options.config, options),
      ),
    )
}
