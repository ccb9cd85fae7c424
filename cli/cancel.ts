import { CliError, ExitCode } from './exit.ts'
import { formatNumber } from './format.ts'
import { connectSeen } from './tenants.ts'
import type { ServerOptions, Terminal } from './terminal.ts'

export type CancelOptions = ServerOptions & {
  json?: boolean
  patience: number
  status?: string
  type?: string
  group?: string
  lane?: string
  provider?: string
  schedule?: string
  /** Unix ms. */
  createdAfter?: number
  createdBefore?: number
  limit?: number
  all?: boolean
  dryRun?: boolean
}

const DEFAULT_LIMIT = 100_000
/** The server answers when all jobs are cancelled. */
const CANCEL_MS = 600_000

/** `cancel`: cancels the open jobs that the options select; with `--dry-run` it counts them. */
export async function runCancelMany(terminal: Terminal, options: CancelOptions): Promise<ExitCode> {
  const filter = toFilter(options)
  if (Object.values(filter).every((value) => value === undefined) && !options.all)
    throw new CliError(ExitCode.usage, 'expected an option that selects jobs, such as --group NAME, or --all')
  const limit = options.limit ?? DEFAULT_LIMIT
  const sum = { cancelled: 0, matched: 0, failed: 0 }
  const tenants: { tenant: string; cancelled: number; matched: number }[] = []
  for (const { tenant, client } of await connectSeen(terminal, options, { patienceMs: options.patience })) {
    if (sum.matched >= limit) break
    const body = { ...filter, limit: limit - sum.matched, dry_run: options.dryRun ?? false }
    const answer = await client.json<{ cancelled: number; matched: number; failed?: number }>(
      'POST',
      '/v1/jobs/cancel',
      {
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
        timeoutMs: CANCEL_MS,
      },
    )
    sum.cancelled += answer.cancelled
    sum.matched += answer.matched
    sum.failed += answer.failed ?? 0
    if (tenant !== null && answer.matched > 0)
      tenants.push({ tenant, cancelled: answer.cancelled, matched: answer.matched })
  }
  const answer = { ...sum, dry_run: options.dryRun ?? false, ...(tenants.length > 0 ? { tenants } : {}) }
  const said = options.dryRun
    ? `${formatNumber(sum.matched)} would be cancelled`
    : `cancelled ${formatNumber(sum.cancelled)}`
  await terminal.write(options.json ? `${JSON.stringify(answer)}\n` : `${said}\n`)
  if (!options.json)
    for (const one of tenants)
      await terminal.write(`  ${one.tenant}: ${formatNumber(options.dryRun ? one.matched : one.cancelled)}\n`)
  if (sum.failed > 0)
    terminal.note(`${formatNumber(sum.failed)} may still be open because of a server error; run this again`)
  if (sum.matched === limit) terminal.note(`stopped at --limit ${limit}; there may be more`)
  return ExitCode.ok
}

function toFilter(options: CancelOptions) {
  const { status, type, group, lane, provider, schedule, createdAfter, createdBefore } = options
  const time = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString())
  return {
    ...{ status, type, group, lane, provider, schedule },
    created_after: time(createdAfter),
    created_before: time(createdBefore),
  }
}
