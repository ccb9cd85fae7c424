import { CliError, ExitCode } from './exit.ts'
import { formatAge, formatUsd } from './format.ts'
import { type Column, renderColumns, widthOf } from './table.ts'
import { connectSeen, findOwner } from './tenants.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

export type BudgetOptions = ServerOptions & { json?: boolean; patience: number }

type Budget = {
  owner: string
  name: string | null
  usd: number
  per: string
  time_zone: string
  window_end: string | null
  spent_usd: number
  reserved_usd: number
}
type ListedBudget = Budget & { tenant: string; label: string | null }
type GroupBudget = { group: string; budgets: Budget[] }

/** The server's largest page. */
const PAGE = 1000
const json = { 'content-type': 'application/json' }
const pathOf = (group: string) => `/v1/groups/${encodeURIComponent(group)}/budget`

/** `budgets list`: budgets of tenants, keys, fair keys, groups and flows, with their usage. */
export async function runListBudgets(
  terminal: Terminal,
  options: BudgetOptions & { owner?: string; fairKey?: string; limit: number },
): Promise<ExitCode> {
  const client = connect(terminal, options, { patienceMs: options.patience })
  const budgets: ListedBudget[] = []
  let after: string | null = null
  do {
    const query = new URLSearchParams({ limit: String(Math.min(PAGE, options.limit - budgets.length)) })
    if (options.owner !== undefined) query.set('owner', options.owner)
    if (options.fairKey !== undefined) query.set('fair_key', options.fairKey)
    if (after !== null) query.set('after', after)
    const page: { data: ListedBudget[]; has_more: boolean; last_id: string | null } = await client.json(
      'GET',
      `/v1/budgets?${query}`,
    )
    budgets.push(...page.data)
    after = page.has_more ? page.last_id : null
  } while (after !== null && budgets.length < options.limit)
  if (options.json) {
    await terminal.write(budgets.map((budget) => `${JSON.stringify(budget)}\n`).join(''))
    return ExitCode.ok
  }
  if (budgets.length === 0) {
    await terminal.write('no budgets\n')
    return ExitCode.ok
  }
  const rows = budgets.map((budget) => [
    budget.tenant,
    budget.owner.replace('_', ' '),
    budget.label ?? budget.name ?? '-',
    ...toCells(terminal, budget),
  ])
  await terminal.write(renderColumns([...OWNER_COLUMNS, ...COLUMNS], rows, widthOf(terminal.stdout)))
  return ExitCode.ok
}

/** `budgets show GROUP` */
export async function runShowBudget(
  terminal: Terminal,
  group: string,
  options: BudgetOptions,
): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  const { client } = await findOwner(seen, pathOf(group), `budget of the group ${group}`)
  return show(terminal, options, await client.json<GroupBudget>('GET', pathOf(group)))
}

/** `budgets set GROUP`: one budget, or several as JSON. */
export async function runSetBudget(
  terminal: Terminal,
  group: string,
  options: BudgetOptions & { usd?: number; per?: string; timeZone?: string; budgets?: string },
): Promise<ExitCode> {
  const body = JSON.stringify(readBudget(options))
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  if (seen.length > 1) {
    throw new CliError(
      ExitCode.usage,
      '--tenant: this key sees several tenants; name the tenant of the group',
    )
  }
  const answer = await seen[0]!.client.json<GroupBudget>('PUT', pathOf(group), { body, headers: json })
  return show(terminal, options, answer)
}

/** `budgets delete GROUP` */
export async function runDeleteBudget(
  terminal: Terminal,
  group: string,
  options: BudgetOptions,
): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  const { client } = await findOwner(seen, pathOf(group), `budget of the group ${group}`)
  await client.request('DELETE', pathOf(group))
  await terminal.write(
    options.json
      ? `${JSON.stringify({ group, deleted: true })}\n`
      : `removed the budgets of the group ${group}\n`,
  )
  return ExitCode.ok
}

function readBudget(options: { usd?: number; per?: string; timeZone?: string; budgets?: string }): object {
  const { usd, per, timeZone, budgets } = options
  if ((usd === undefined) === (budgets === undefined))
    throw new CliError(ExitCode.usage, 'expected --usd for one budget, or --budgets with several as JSON')
  if (budgets === undefined) return { usd, per, time_zone: timeZone }
  if (per !== undefined || timeZone !== undefined)
    throw new CliError(
      ExitCode.usage,
      '--per and --time-zone belong to --usd; write them into the JSON of --budgets',
    )
  try {
    return { budgets: JSON.parse(budgets) as unknown }
  } catch {
    throw new CliError(ExitCode.usage, '--budgets: expected JSON such as [{"usd":5,"per":"day"}]')
  }
}

async function show(terminal: Terminal, options: BudgetOptions, answer: GroupBudget): Promise<ExitCode> {
  const rows = answer.budgets.map((budget) => toCells(terminal, budget))
  await terminal.write(
    options.json ? `${JSON.stringify(answer)}\n` : renderColumns(COLUMNS, rows, widthOf(terminal.stdout)),
  )
  return ExitCode.ok
}

const right = 'right' as const
const OWNER_COLUMNS: Column[] = [
  { title: 'TENANT', least: 8 },
  { title: 'OF', least: 6 },
  { title: 'NAME', least: 8 },
]
const COLUMNS: Column[] = [
  { title: 'USD', side: right },
  { title: 'PER', least: 5 },
  { title: 'SPENT', side: right },
  { title: 'RESERVED', side: right, leaveOut: 1 },
  { title: 'USED', side: right },
  { title: 'ENDS' },
]

function toCells(terminal: Terminal, budget: Budget): string[] {
  const { usd, per, time_zone: zone, spent_usd: spent, reserved_usd: reserved, window_end: end } = budget
  const share = usd === 0 ? 1 : (spent + reserved) / usd
  const used = `${Math.floor(share * 100)}%`
  return [
    formatUsd(usd),
    per === 'total' || zone === 'UTC' ? per : `${per} (${zone})`,
    formatUsd(spent),
    formatUsd(reserved),
    share >= 1 ? terminal.style('red', used) : share >= 0.8 ? terminal.style('yellow', used) : used,
    end === null ? 'never' : formatAge(end, terminal.now()),
  ]
}
