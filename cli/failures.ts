import { createWriteStream, existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { CliError, ExitCode } from './exit.ts'
import { formatAge, formatNumber } from './format.ts'
import { checkOutput, refuseOutput } from './output-file.ts'
import { type Column, renderColumns, widthOf } from './table.ts'
import { askEach, connectSeen, withTenant } from './tenants.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

type Common = ServerOptions & { json?: boolean; patience: number }
type Filter = {
  group?: string
  lane?: string
  errorCode?: string
  type?: string
  /** Unix ms. */
  failedAfter?: number
  failedBefore?: number
  limit?: number
}
export type RedriveOptions = Common & Filter & { dryRun?: boolean }
export type ExportOptions = Common & Filter

type FailedGroup = {
  lane: string
  code: string
  count: number
  first_at: string
  last_at: string
  retryable: boolean
}

/** Default limit. The server answers when all jobs are queued. */
const DEFAULT_LIMIT = 10_000
const REDRIVE_MS = 600_000

/** `failures`: stored failed jobs by lane and error code. */
export async function runFailures(terminal: Terminal, options: Common): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  const answers = await askEach(seen, ({ client }) =>
    client.json<{ data: FailedGroup[] }>('GET', '/v1/failures'),
  )
  const classes = answers.flatMap(({ tenant, answer }) => answer.data.map((one) => ({ tenant, ...one })))
  // Those of one tenant are already in the server's order.
  if (seen.length > 1) classes.sort((one, other) => other.count - one.count)
  if (options.json) {
    const lines = classes.map(({ tenant, ...one }) => `${JSON.stringify(withTenant(tenant, one))}\n`)
    await terminal.write(lines.join(''))
  } else await terminal.write(renderFailures(classes, terminal))
  return ExitCode.ok
}

const COLUMNS: Column[] = [
  { title: 'LANE', least: 12 },
  { title: 'ERROR', least: 12 },
  { title: 'JOBS', side: 'right' },
  { title: 'FIRST', side: 'right', leaveOut: 1 },
  { title: 'LAST', side: 'right' },
  { title: 'RETRY' },
]

/** The table of `failures`, with a column for tenants if there are several. */
function renderFailures(classes: (FailedGroup & { tenant: string | null })[], terminal: Terminal): string {
  if (classes.length === 0) return 'no failed jobs\n'
  const isOfMany = classes.some(({ tenant }) => tenant !== null)
  const rows = classes.map((one) => [
    ...(isOfMany ? [one.tenant ?? ''] : []),
    one.lane,
    terminal.style('red', one.code),
    formatNumber(one.count),
    formatAge(one.first_at, terminal.now()),
    formatAge(one.last_at, terminal.now()),
    one.retryable ? terminal.style('green', 'may help') : 'no use',
  ])
  const columns = isOfMany ? [{ title: 'TENANT', least: 8 }, ...COLUMNS] : COLUMNS
  return renderColumns(columns, rows, widthOf(terminal.stdout))
}

/** `redrive`: retries the failed jobs that the options select; with `--dry-run` it counts them. */
export async function runRedrive(terminal: Terminal, options: RedriveOptions): Promise<ExitCode> {
  const limit = options.limit ?? DEFAULT_LIMIT
  const sum = { retried: 0, matched: 0, failed: 0 }
  const tenants: { tenant: string; retried: number; matched: number }[] = []
  for (const { tenant, client } of await connectSeen(terminal, options, { patienceMs: options.patience })) {
    if (sum.matched >= limit) break
    const members = { ...toMembers(options), limit: limit - sum.matched, dry_run: options.dryRun ?? false }
    const answer = await client.json<{ retried: number; matched: number; failed?: number }>(
      'POST',
      '/v1/jobs/retry',
      {
        body: JSON.stringify(members),
        headers: { 'content-type': 'application/json' },
        timeoutMs: REDRIVE_MS,
      },
    )
    sum.retried += answer.retried
    sum.matched += answer.matched
    sum.failed += answer.failed ?? 0
    if (tenant !== null && answer.matched > 0)
      tenants.push({ tenant, retried: answer.retried, matched: answer.matched })
  }
  const { retried, matched, failed } = sum
  const answer = { ...sum, dry_run: options.dryRun ?? false, ...(tenants.length > 0 ? { tenants } : {}) }
  const said = options.dryRun
    ? `${formatNumber(matched)} would be queued again`
    : `queued ${formatNumber(retried)} again`
  await terminal.write(options.json ? `${JSON.stringify(answer)}\n` : `${said}\n`)
  if (!options.json)
    for (const one of tenants)
      await terminal.write(`  ${one.tenant}: ${formatNumber(options.dryRun ? one.matched : one.retried)}\n`)
  if (failed > 0)
    terminal.note(`${formatNumber(failed)} could not be retried because of a server error; run this again`)
  if (matched === limit) terminal.note(`stopped at --limit ${limit}; there may be more`)
  return ExitCode.ok
}

/** `failures export OUT`: writes failed jobs with their requests, one per line, in a form that `submit` accepts. */
export async function runExport(terminal: Terminal, out: string, options: ExportOptions): Promise<ExitCode> {
  const client = connect(terminal, options, { patienceMs: options.patience })
  if (out !== '-' && existsSync(out)) throw new CliError(ExitCode.usage, `${out} already exists`)
  if (out !== '-') await checkOutput(resolve(out), 'OUT')
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries({ ...toMembers(options), limit: options.limit }))
    if (value !== undefined) query.set(name, String(value))
  const answer = await client.open(`/v1/failures/export?${query}`)
  const readOn = () =>
    answer.read().catch(() => {
      terminal.signal.throwIfAborted()
      throw new CliError(ExitCode.unavailable, 'the export was cut short')
    })
  let lines = 0
  async function* count() {
    for (let chunk = await readOn(); chunk !== null; chunk = await readOn()) {
      for (const byte of chunk) if (byte === LINE_FEED) lines++
      yield chunk
    }
  }
  if (out === '-') for await (const chunk of decode(count())) await terminal.write(chunk)
  else await writeWhole(out, count())
  const said = `wrote ${formatNumber(lines)} failed ${lines === 1 ? 'job' : 'jobs'} to ${out}\n`
  if (out !== '-') await terminal.write(options.json ? `${JSON.stringify({ exported: lines })}\n` : said)
  const others = options.tenant === undefined ? await listOthersFailures(terminal, options) : []
  if (others.length > 0)
    terminal.note(
      `exported only the jobs of the key's own tenant; for another use --tenant (with failed jobs: ${others.join(', ')})`,
    )
  return ExitCode.ok
}

/**
 * Other tenants with failed jobs that an admin key may see. They are not exported, because an export is submitted again as one tenant's.
 */
async function listOthersFailures(terminal: Terminal, options: Common): Promise<string[]> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  if (seen.length < 2) return []
  const answers = await askEach(seen, ({ client }) => client.json<{ total: number }>('GET', '/v1/failures'))
  return answers.flatMap(({ tenant, answer }) => (answer.total > 0 && tenant !== null ? [tenant] : []))
}

const LINE_FEED = 10

/** Writes to a temporary file first, so that a file with this name is always complete. */
async function writeWhole(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const part = `${path}.part`
  try {
    await pipeline(chunks, createWriteStream(part))
    await rename(part, path)
  } catch (error) {
    await rm(part, { force: true })
    throw refuseOutput(error, path, 'OUT')
  }
}

async function* decode(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  for await (const chunk of chunks) yield decoder.decode(chunk, { stream: true })
}

function toMembers({ group, lane, errorCode, type, failedAfter, failedBefore }: Filter) {
  const time = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString())
  return {
    group,
    lane,
    error_code: errorCode,
    type,
    failed_after: time(failedAfter),
    failed_before: time(failedBefore),
  }
}
