import { ExitCode } from './exit.ts'
import { renderTable } from './table.ts'
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
  else await terminal.write(renderProviderBatches(data))
  return ExitCode.ok
}

function renderProviderBatches(batches: ProviderBatchView[]): string {
  const head = [
    'BATCH',
    'LANE',
    'STATE',
    'LINES',
    'DONE',
    'FAILED',
    'LEFT',
    'SAVED',
    'CREATED',
    "PROVIDER'S ID",
  ]
  const rows = batches.map(({ id, lane, state, outcome, lines, saved_usd, created_at, provider_id }) => [
    ...[id, lane, outcome ?? state],
    ...[lines.total, lines.completed, lines.failed, lines.left].map(String),
    `$${saved_usd.toFixed(4)}`,
    created_at,
    provider_id ?? '-',
  ])
  const right = 'right' as const
  return renderTable(
    [head, ...rows],
    ['left', 'left', 'left', right, right, right, right, right, 'left', 'left'],
  )
}
