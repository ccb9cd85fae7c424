import { ExitCode } from './exit.ts'
import { formatCostSum, formatNumber } from './format.ts'
import { renderTable } from './table.ts'
import { askEach, connectSeen, withTenant } from './tenants.ts'
import type { ServerOptions, Terminal } from './terminal.ts'

export type GroupsOptions = ServerOptions & { json?: boolean; patience: number; limit: number }

type Group = {
  group: string
  total: number
  counts: Record<'scheduled' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled', number>
  cost_usd: number | null
  unpriced_calls: number
  estimated_finish_at: string | null
  updated_at: string
}

/** `groups`: those that changed last first. */
export async function runGroups(terminal: Terminal, options: GroupsOptions): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  const answers = await askEach(seen, ({ client }) =>
    client.json<{ data: Group[] }>('GET', `/v1/groups?limit=${Math.min(1000, options.limit)}`),
  )
  const groups = answers
    .flatMap(({ tenant, answer }) => answer.data.map((group) => ({ tenant, group })))
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
  const rows = groups.map(({ tenant, group: { group, total, counts, estimated_finish_at, ...cost } }) => [
    ...(isOfMany ? [tenant ?? ''] : []),
    group,
    formatNumber(total),
    formatNumber(counts.scheduled + counts.queued + counts.running),
    formatNumber(counts.completed),
    counts.failed > 0 ? terminal.style('red', formatNumber(counts.failed)) : '0',
    formatCostSum(cost),
    estimated_finish_at?.slice(0, 19) ?? '-',
  ])
  const head = ['GROUP', 'JOBS', 'OPEN', 'DONE', 'FAILED', 'USD', 'READY']
  const sides = ['left', 'right', 'right', 'right', 'right', 'right', 'left'] as const
  await terminal.write(
    isOfMany
      ? renderTable([['TENANT', ...head], ...rows], ['left', ...sides])
      : renderTable([head, ...rows], [...sides]),
  )
  return ExitCode.ok
}
