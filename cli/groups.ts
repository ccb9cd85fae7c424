import { ExitCode } from './exit.ts'
import { formatAge, formatCostSum, formatNumber } from './format.ts'
import { listPages } from './list-pages.ts'
import { type Column, renderColumns, widthOf } from './table.ts'
import { askEach, connectSeen, withTenant } from './tenants.ts'
import type { ServerOptions, Terminal } from './terminal.ts'

export type GroupsOptions = ServerOptions & { json?: boolean; patience: number; limit: number }

type Group = {
  group: string
  total: number
  counts: Record<'scheduled' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled', number>
  cost_usd: number | null
  unpriced_calls: number
  updated_at: string
}

const right = 'right' as const
const COLUMNS: Column[] = [
  { title: 'GROUP', least: 12 },
  { title: 'JOBS', side: right },
  { title: 'OPEN', side: right },
  { title: 'DONE', side: right },
  { title: 'FAILED', side: right },
  { title: 'USD', side: right, least: 8 },
  { title: 'CHANGED', side: right },
]

/** `groups`: the most recently changed first. */
export async function runGroups(terminal: Terminal, options: GroupsOptions): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  const answers = await askEach(seen, ({ client }) =>
    Array.fromAsync(listPages<Group>(client, '/v1/groups', options.limit)),
  )
  const groups = answers
    .flatMap(({ tenant, answer }) => answer.map((group) => ({ tenant, group })))
    .sort((one, other) => Date.parse(other.group.updated_at) - Date.parse(one.group.updated_at))
    .slice(0, options.limit)
  if (options.json) {
    const lines = groups.map(({ tenant, group }) => `${JSON.stringify(withTenant(tenant, group))}\n`)
    await terminal.write(lines.join(''))
    return ExitCode.ok
  }
  if (groups.length === 0) {
    await terminal.write('no groups\n')
    return ExitCode.ok
  }
  const isOfMany = seen.length > 1
  const rows = groups.map(({ tenant, group: { group, total, counts, updated_at, ...cost } }) => [
    ...(isOfMany ? [tenant ?? ''] : []),
    group,
    formatNumber(total),
    formatNumber(counts.scheduled + counts.queued + counts.running),
    formatNumber(counts.completed),
    counts.failed > 0 ? terminal.style('red', formatNumber(counts.failed)) : '0',
    formatCostSum(cost),
    formatAge(updated_at, terminal.now()),
  ])
  const columns = isOfMany ? [{ title: 'TENANT', least: 8 }, ...COLUMNS] : COLUMNS
  await terminal.write(renderColumns(columns, rows, widthOf(terminal.stdout)))
  return ExitCode.ok
}
