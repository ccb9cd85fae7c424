import { type Command, Option } from 'commander'
import { keyOption, type Run, toCount } from '../options.ts'

const DEFAULT_OUTPUT_TOKENS = 256

/** Commands that need no server: plan, check-config. */
export function addPlanCommands(program: Command, run: Run): void {
  program
    .command('plan')
    .description('estimate how long a file takes and what it costs; makes no calls')
    .argument('<file>', 'JSONL: one job or batch line per line')
    .option('-c, --config <path>', 'configuration file (default: SLUICE_CONFIG, then ./sluice.yaml)')
    .addOption(
      new Option('--url <url>', 'use the backlog and the learned limits of this server')
        .env('SLUICE_URL')
        .argParser((text) => text || undefined),
    )
    .addOption(keyOption())
    .option(
      '--output-tokens <tokens>',
      'length of an answer if its request sets no maximum',
      toCount,
      DEFAULT_OUTPUT_TOKENS,
    )
    .option('--json', 'print JSON for scripts')
    .action((file, options) =>
      run(async (terminal) => (await import('../plan/command.ts')).runPlan(terminal, file, options)),
    )

  program
    .command('check-config')
    .description('list every mistake in a configuration file; exits with 78 if there are any')
    .argument('[path]', 'default: SLUICE_CONFIG, then ./sluice.yaml')
    .option('--config <path>', 'the same as the argument')
    .option('--json', 'print JSON for scripts')
    .action((path, options) =>
      run(async (terminal) =>
        (await import('../check-config.ts')).runCheckConfig(terminal, path ?? options.config, options),
      ),
    )
}
