import { type Client, RefusedError } from './client.ts'
import { CliError, ExitCode } from './exit.ts'
import { formatAge, formatUsd } from './format.ts'
import type { Job } from './job.ts'
import { type Column, renderColumns, widthOf } from './table.ts'
import { askEach, connectSeen, findOwner, type Seen, withTenant } from './tenants.ts'
import type { ServerOptions, Terminal } from './terminal.ts'

type Common = ServerOptions & { json?: boolean; patience: number }
export type ListOptions = Common & {
  status?: string
  type?: string
  group?: string
  lane?: string
  model?: string
  errorCode?: string
  metadata?: string[]
  /** Unix ms. */
  createdAfter?: number
  createdBefore?: number
  minCostUsd?: string
  limit: number
  results?: boolean
}
export type RetryOptions = Common & { group?: string; lane?: string; errorCode?: string; limit?: number }

type JobPage = { data: Job[]; has_more: boolean; last_id: string | null }

/** The server's largest page. */
const PAGE = 1000

const statusStyles: Partial<Record<Job['status'], 'green' | 'red' | 'yellow'>> = {
  completed: 'green',
  failed: 'red',
  cancelled: 'yellow',
}

/** `jobs list`: newest first. */
export async function runList(terminal: Terminal, options: ListOptions): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  if (seen.length === 1) {
    const jobs = listJobs(seen[0]!.client, options)
    if (options.json) for await (const job of jobs) await terminal.write(`${JSON.stringify(job)}\n`)
    else await terminal.write(renderJobs((await Array.fromAsync(jobs)).map(ofTenant(null)), terminal))
    return ExitCode.ok
  }
  const answers = await askEach(seen, ({ client }) => Array.fromAsync(listJobs(client, options)))
  const jobs = answers
    .flatMap(({ tenant, answer }) => answer.map(ofTenant(tenant)))
    .sort((one, other) => Date.parse(other.job.created_at) - Date.parse(one.job.created_at))
    .slice(0, options.limit)
  if (options.json)
    await terminal.write(
      jobs.map(({ tenant, job }) => `${JSON.stringify(withTenant(tenant, job))}\n`).join(''),
    )
  else await terminal.write(renderJobs(jobs, terminal))
  return ExitCode.ok
}

type Listed = { tenant: string | null; job: Job }

const ofTenant =
  (tenant: string | null) =>
  (job: Job): Listed => ({ tenant, job })

/** Yields jobs as they are read, so that at most a page of results is in memory. */
async function* listJobs(client: Client, options: ListOptions): AsyncGenerator<Job> {
  const withResults = Boolean(options.json && options.results)
  let left = options.limit
  let after: string | null = null
  while (left > 0) {
    const query = new URLSearchParams({ limit: String(Math.min(PAGE, left)) })
    for (const name of ['status', 'type', 'group', 'lane'] as const) {
      const value = options[name]
      if (value !== undefined) query.set(name, value)
    }
    addSearch(query, options)
    if (after !== null) query.set('after', after)
    if (withResults) query.set('include', 'result')
    const page: JobPage = await client.json('GET', `/v1/jobs?${query}`)
    for (const job of page.data) yield withResults && job.result_omitted ? await readWhole(client, job) : job
    left -= page.data.length
    after = page.last_id
    if (!page.has_more || after === null) return
  }
}

function addSearch(query: URLSearchParams, options: ListOptions): void {
  const { model, errorCode, metadata = [], createdAfter, createdBefore, minCostUsd } = options
  if (model !== undefined) query.set('model', model)
  if (errorCode !== undefined) query.set('error_code', errorCode)
  if (createdAfter !== undefined) query.set('created_after', new Date(createdAfter).toISOString())
  if (createdBefore !== undefined) query.set('created_before', new Date(createdBefore).toISOString())
  if (minCostUsd !== undefined) query.set('min_cost_usd', minCostUsd)
  for (const pair of metadata) {
    const at = pair.indexOf('=')
    if (at <= 0) throw new CliError(ExitCode.usage, `--metadata: expected name=value, got "${pair}"`)
    query.append(`metadata.${pair.slice(0, at)}`, pair.slice(at + 1))
  }
}

/** Reads a job whose result did not fit into its page; returns it as listed if it was deleted meanwhile. */
async function readWhole(client: Client, job: Job): Promise<Job> {
  try {
    return await client.json<Job>('GET', `/v1/jobs/${encodeURIComponent(job.id)}`)
  } catch (error) {
    if (error instanceof RefusedError && error.status === 404) return job
    throw error
  }
}

const COLUMNS: Column[] = [
  { title: 'ID' },
  { title: 'STATUS' },
  { title: 'MODEL', least: 8, leaveOut: 1 },
  { title: 'GROUP', least: 8, leaveOut: 3 },
  { title: 'AGE', side: 'right' },
  { title: 'USD', side: 'right', leaveOut: 2 },
  { title: 'ERROR', least: 8 },
]

function renderJobs(jobs: Listed[], terminal: Terminal): string {
  const isOfMany = jobs.some(({ tenant }) => tenant !== null)
  const rows = jobs.map(({ tenant, job }) => {
    const look = statusStyles[job.status]
    return [
      ...(isOfMany ? [tenant ?? ''] : []),
      job.id,
      look === undefined ? job.status : terminal.style(look, job.status),
      job.model,
      job.group ?? '-',
      formatAge(job.created_at, terminal.now()),
      job.cost_usd === null ? '-' : formatUsd(job.cost_usd),
      job.error?.code ?? '',
    ]
  })
  const columns = isOfMany ? [{ title: 'TENANT', least: 8 }, ...COLUMNS] : COLUMNS
  return renderColumns(columns, rows, widthOf(terminal.stdout))
}

/** `jobs show ID`: the job, with its calls if requested. */
export async function runShow(
  terminal: Terminal,
  id: string,
  options: Common & { attempts?: boolean },
): Promise<ExitCode> {
  const path = `/v1/jobs/${encodeURIComponent(id)}`
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  const { client } = await findOwner(seen, path, id)
  const job = await client.json<object>('GET', path)
  const calls = options.attempts ? await client.json<{ data: object[] }>('GET', `${path}/attempts`) : null
  const shown = calls === null ? job : { ...job, calls: calls.data }
  await terminal.write(`${options.json ? JSON.stringify(shown) : JSON.stringify(shown, null, 2)}\n`)
  return ExitCode.ok
}

/** `jobs cancel ID…` */
export function runCancel(terminal: Terminal, ids: string[], options: Common): Promise<ExitCode> {
  return changeEach(terminal, ids, 'cancel', options)
}

/** `jobs retry ID…`, or without ids all failed jobs that the options select. */
export async function runRetry(terminal: Terminal, ids: string[], options: RetryOptions): Promise<ExitCode> {
  if (ids.length > 0) return changeEach(terminal, ids, 'retry', options)
  const { group, lane, errorCode, limit } = options
  let retried = 0
  for (const { client } of await connectSeen(terminal, options, { patienceMs: options.patience })) {
    if (limit !== undefined && retried >= limit) break
    const left = limit === undefined ? undefined : limit - retried
    const answer = await client.json<{ retried: number }>('POST', '/v1/jobs/retry', {
      body: JSON.stringify({ group, lane, error_code: errorCode, limit: left }),
      headers: { 'content-type': 'application/json' },
    })
    retried += answer.retried
  }
  await terminal.write(options.json ? `${JSON.stringify({ retried })}\n` : `queued ${retried} again\n`)
  return ExitCode.ok
}

/** Changes each job. A failure does not stop the others. */
async function changeEach(
  terminal: Terminal,
  ids: string[],
  change: 'cancel' | 'retry',
  options: Common,
): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  let code: ExitCode = ExitCode.ok
  for (const id of ids) {
    const refusal = await changeOne(seen, id, change, async (job) =>
      terminal.write(options.json ? `${JSON.stringify(job)}\n` : `${id}  ${job.status}\n`),
    )
    if (refusal === null) continue
    terminal.note(`${id}: ${refusal}`)
    code = ExitCode.failed
  }
  return code
}

async function changeOne(
  seen: readonly Seen[],
  id: string,
  change: 'cancel' | 'retry',
  report: (job: Job) => Promise<void>,
): Promise<string | null> {
  try {
    const path = `/v1/jobs/${encodeURIComponent(id)}`
    const { client } = await findOwner(seen, path, id)
    await report(await client.json<Job>('POST', `${path}/${change}`))
    return null
  } catch (error) {
    if (error instanceof RefusedError && error.exitCode === ExitCode.failed) return error.members.message
    throw error
  }
}
