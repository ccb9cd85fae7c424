import { findWeakKeys } from '../config/key-strength.ts'
import { listLanes } from '../config/lanes.ts'
import { ConfigError, findConfigPath, loadConfig } from '../config/load.ts'
import { listSharedLimits } from '../config/shared-limits.ts'
import { findUnpriced } from '../config/unpriced.ts'
import { ExitCode } from './exit.ts'
import type { Terminal } from './terminal.ts'

/** `check-config [PATH]`: prints all faults and exits with 78; or prints a summary and exits with 0. */
export async function runCheckConfig(
  terminal: Terminal,
  given: string | undefined,
  { json }: { json?: boolean },
): Promise<ExitCode> {
  const { env, cwd } = terminal
  const path = findConfigPath({ env, cwd, ...(given === undefined ? {} : { path: given }) })
  try {
    const config = loadConfig({ path, env })
    const weakKeys = findWeakKeys(config)
    const unpriced = findUnpriced(config)
    const lanes = listLanes(config).map(({ id }) => id)
    const tenants = Object.keys(config.tenants)
    const shared = listSharedLimits(config)
    if (json) {
      const found = { path, faults: [], lanes, tenants, weak_keys: weakKeys, unpriced, shared_limits: shared }
      await terminal.write(`${JSON.stringify(found)}\n`)
      return ExitCode.ok
    }
    const sum = [count(lanes.length, 'lane'), count(tenants.length, 'tenant')].join(', ')
    await terminal.write(`${path}: ${terminal.style('green', 'no faults')}; ${sum}\n`)
    for (const { provider, name, lanes: sharers, binds } of shared) {
      const bound = binds.length === 0 ? 'lower than no limit of a lane' : `lower than ${binds.join(', ')}`
      await terminal.write(
        `${provider}: shared limit ${name}: ${count(sharers.length, 'lane')} together (${sharers.join(', ')}); ${bound}\n`,
      )
    }
    for (const place of weakKeys) {
      const advice = 'has less than 128 bits; `sluice keys new` creates a strong one'
      await terminal.write(`${terminal.style('yellow', 'warning')}: ${place} ${advice}\n`)
    }
    for (const { lane, budgets } of unpriced) {
      const refuses = config.budgets.unknown_price === 'refuse'
      const act = refuses
        ? ', and jobs that count against the budgets of NAMES are refused'
        : ', and the budgets of NAMES do not count them'
      const blind = budgets.length === 0 ? '' : act.replace('NAMES', budgets.join(', '))
      await terminal.write(
        `${terminal.style('yellow', 'warning')}: ${lane} has no price: the costs of its calls are unknown${blind}\n`,
      )
    }
    return ExitCode.ok
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    if (json) await terminal.write(`${JSON.stringify({ path, faults: error.faults })}\n`)
    else for (const fault of error.faults) await terminal.write(`${fault}\n`)
    return ExitCode.config
  }
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}
