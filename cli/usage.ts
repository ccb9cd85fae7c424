import { ExitCode } from './exit.ts'
import { formatCostSum, formatNumber, formatUsd } from './format.ts'
import { type Column, renderColumns, widthOf } from './table.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

export type UsageOptions = ServerOptions & {
  json?: boolean
  patience: number
  from?: string
  to?: string
  by: string
  top?: number
}

type Usage = Record<string, string | number | null> & {
  jobs: number
  failed: number
  calls: number
  input_tokens: number
  output_tokens: number
  cost_usd: number | null
  unpriced_calls: number
}

type Page = {
  data: Usage[]
  has_more: boolean
  last_id: string | null
  /** The sum of the entries that `top` omitted. */
  rest?: (Usage & { entries: number }) | null
}

/** The server's largest page. */
const PAGE = 10_000

/** Savings of all kinds. */
const SAVED = ['saved_cache_usd', 'saved_sharing_usd', 'saved_tiers_usd', 'saved_prompt_cache_usd']

/** `usage`: consumption and costs. */
export async function runUsage(terminal: Terminal, options: UsageOptions): Promise<ExitCode> {
  const client = connect(terminal, options, { patienceMs: options.patience })
  const names = options.by.split(',')
  const entries: Usage[] = []
  let rest: (Usage & { entries: number }) | null = null
  let after: string | null = null
  do {
    const query = new URLSearchParams({ by: options.by, limit: String(PAGE) })
    if (options.from !== undefined) query.set('from', options.from)
    if (options.to !== undefined) query.set('to', options.to)
    if (options.top !== undefined) query.set('top', String(options.top))
    if (after !== null) query.set('after', after)
    const page: Page = await client.json('GET', `/v1/usage?${query}`)
    entries.push(...page.data)
    rest = page.rest ?? null
    after = page.has_more ? page.last_id : null
  } while (after !== null)
  if (options.json) {
    const all = rest === null ? entries : [...entries, { ...rest, rest: true }]
    await terminal.write(all.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
    return ExitCode.ok
  }
  const rows =
    rest === null ? entries : [...entries, { ...rest, [names[0]!]: `${formatNumber(rest.entries)} more` }]
  await terminal.write(rows.length === 0 ? 'no usage\n' : renderUsage(names, rows, widthOf(terminal.stdout)))
  return ExitCode.ok
}

const right = 'right' as const
const SUMS: Column[] = [
  { title: 'JOBS', side: right },
  { title: 'FAILED', side: right, leaveOut: 2 },
  { title: 'CALLS', side: right, leaveOut: 3 },
  { title: 'INPUT', side: right, leaveOut: 1 },
  { title: 'OUTPUT', side: right, leaveOut: 1 },
  { title: 'USD', side: right, least: 8 },
  { title: 'SAVED', side: right },
]

function renderUsage(names: readonly string[], entries: readonly Usage[], width: number): string {
  const least = names.length > 2 ? 6 : 10
  const columns = names.map((name) => ({ title: name.toUpperCase().replace('_', ' '), least }))
  const rows = entries.map((entry) => [
    ...names.map((name) => String(entry[name] ?? '-')),
    ...[entry.jobs, entry.failed, entry.calls, entry.input_tokens, entry.output_tokens].map(formatNumber),
    formatCostSum(entry),
    formatUsd(SAVED.reduce((sum, name) => sum + Number(entry[name] ?? 0), 0)),
  ])
  return renderColumns([...columns, ...SUMS], rows, width)
}
