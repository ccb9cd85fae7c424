import { type Command, InvalidArgumentError, Option } from 'commander'
import { DEFAULT_PAGE, type Run, server, toCount } from '../options.ts'

/** Commands for budgets. */
export function addBudgetCommands(program: Command, run: Run): void {
  const load = () => import('../budgets.ts')
  const budgets = program
    .command('budgets')
    .description('list all budgets and their use; set, show and delete those of groups')
  server(budgets.command('list'), '5s')
    .description('list budgets of tenants, keys, fair keys, groups and open flows')
    .addOption(
      new Option('--owner <owner>', 'only budgets of this kind of owner').choices([
        'tenant',
        'key',
        'fair_key',
        'group',
        'flow',
      ]),
    )
    .option('--fair-key <key>', 'only budgets of this fair key')
    .option('--limit <budgets>', 'the most to show', toCount, DEFAULT_PAGE)
    .action((options) => run(async (terminal) => (await load()).runListBudgets(terminal, options)))
  server(budgets.command('show'), '5s')
    .description('show the budgets of a group')
    .argument('<group>')
    .action((group, options) =>
      run(async (terminal) => (await load()).runShowBudget(terminal, group, options)),
    )
  server(budgets.command('set'), '5s')
    .description('set what the jobs of a group may cost')
    .argument('<group>')
    .option('--usd <usd>', 'the most that a window may cost', toUsd)
    .addOption(
      new Option('--per <window>', 'the window; total (default) is the whole life of the group').choices([
        'day',
        'week',
        'month',
        'total',
      ]),
    )
    .option('--time-zone <zone>', 'where windows begin at midnight (default: UTC)')
    .option('--budgets <json>', 'several: [{"usd":5,"per":"day"},{"usd":100,"per":"month"}]')
    .action((group, options) =>
      run(async (terminal) => (await load()).runSetBudget(terminal, group, options)),
    )
  server(budgets.command('delete'), '5s')
    .description('remove the budgets of a group')
    .argument('<group>')
    .action((group, options) =>
      run(async (terminal) => (await load()).runDeleteBudget(terminal, group, options)),
    )
}

function toUsd(text: string): number {
  const usd = Number(text)
  if (text.trim() === '' || !(usd >= 0)) throw new InvalidArgumentError('Expected USD, from 0.')
  return usd
}
