import { ExitCode } from './exit.ts'
import { formatAge } from './format.ts'
import { type Column, renderColumns, widthOf } from './table.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

/** The members of `GET /v1/provider-batches` that are shown. */
export type ProviderBatchView = {
  id: string
  lane: string
  state: string
  outcome: string | null
  provider_id: string | null
  lines: { total: number; completed: number; failed: number; left: number; dropped: number }
  saved_usd: number
  created_at: string
}

export type ProviderBatchesOptions = ServerOptions & { json?: boolean; limit?: number; patience: number }

/** `provider-batches`: the latest batches at providers. */
export async function runProviderBatches(
  terminal: Terminal,
  options: ProviderBatchesOptions,
): Promise<ExitCode> {
  const client = connect(terminal, options, { patienceMs: options.patience })
  const path = `/v1/provider-batches?limit=${options.limit ?? 100}`
  const { data } = await client.json<{ data: ProviderBatchView[] }>('GET', path)
  if (options.json) await terminal.write(data.map((batch) => `${JSON.stringify(batch)}\n`).join(''))
  else await terminal.write(renderProviderBatches(data, terminal))
  return ExitCode.ok
}

const right = 'right' as const
const COLUMNS: Column[] = [
  { title: 'BATCH' },
  { title: 'LANE', least: 12 },
  { title: 'STATE' },
  { title: 'LINES', side: right },
  { title: 'DONE', side: right, leaveOut: 1 },
  { title: 'FAILED', side: right, leaveOut: 2 },
  { title: 'LEFT', side: right, leaveOut: 4 },
  { title: 'SAVED', side: right, leaveOut: 3 },
  { title: 'AGE', side: right },
  { title: "PROVIDER'S ID", leaveOut: 5 },
]

function renderProviderBatches(batches: ProviderBatchView[], terminal: Terminal): string {
  const rows = batches.map(({ id, lane, state, outcome, lines, saved_usd, created_at, provider_id }) => [
    ...[id, lane, outcome ?? state],
    ...[lines.total, lines.completed, lines.failed, lines.left].map(String),
    `$${saved_usd.toFixed(4)}`,
    formatAge(created_at, terminal.now()),
    provider_id ?? '-',
  ])
  return renderColumns(COLUMNS, rows, widthOf(terminal.stdout))
}
