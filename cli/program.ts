import type { Command } from 'commander'
import { addBudgetCommands } from './commands/budgets.ts'
import { addDurableCommands } from './commands/durable.ts'
import { addFailureCommands } from './commands/failures.ts'
import { addFlowCommands } from './commands/flows.ts'
import { addJobCommands } from './commands/jobs.ts'
import { addLaneCommands } from './commands/lanes.ts'
import { addPlanCommands } from './commands/plan.ts'
import { addScheduleCommands } from './commands/schedules.ts'
import { addSubmitCommands } from './commands/submit.ts'
import { addTenantCommands } from './commands/tenants.ts'
import { addUsageCommands } from './commands/usage.ts'
import { renderCompletion, type Shell, shells } from './completion.ts'
import { ExitCode } from './exit.ts'
import type { Run } from './options.ts'
import { openTerminal } from './terminal.ts'

/** Adds the commands for servers and files. Each command loads its code only when it runs. */
export function addCommands(program: Command, process: NodeJS.Process): void {
  const run: Run = async (work) => {
    process.exit(await work(openTerminal(process)))
  }
  const groups = [
    addSubmitCommands,
    addLaneCommands,
    addFailureCommands,
    addJobCommands,
    addUsageCommands,
    addBudgetCommands,
    addScheduleCommands,
    addFlowCommands,
    addDurableCommands,
    addPlanCommands,
    addTenantCommands,
  ]
  for (const add of groups) add(program, run)

  const completion = program.command('completion')
  completion
    .description('print a script that lets your shell complete commands and options')
    .addArgument(completion.createArgument('<shell>').choices(shells))
    .action((shell: Shell) =>
      run(async (terminal) => {
        await terminal.write(renderCompletion(shell, program))
        return ExitCode.ok
      }),
    )
}
