import { type Client, RefusedError } from './client.ts'
import { ExitCode } from './exit.ts'
import { formatUsd } from './format.ts'
import type { Job } from './job.ts'
import { renderTable } from './table.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

type Common = ServerOptions & { json?: boolean; patience: number }
export type ListOptions = Common & {
  status?: string
  type?: string
  group?: string
  lane?: string
  limit: number
}
export type RetryOptions = Common & { group?: string; lane?: string; errorCode?: string; limit?: number }

type Page = { data: Job[]; has_more: boolean; last_id: string | null }

/** The server's largest page. */
const PAGE = 1000

const statusStyles: Partial<Record<Job['status'], 'green' | 'red' | 'yellow'>> = {
  completed: 'green',
  failed: 'red',
  cancelled: 'yellow',
}

/** `jobs list`: newest first. */
export async function runList(terminal: Terminal, options: ListOptions): Promise<ExitCode> {
  const client = connect(terminal, options, { patienceMs: options.patience })
  const found: Job[] = []
  let after: string | null = null
  while (found.length < options.limit) {
    const query = new URLSearchParams({ limit: String(Math.min(PAGE, options.limit - found.length)) })
    for (const name of ['status', 'type', 'group', 'lane'] as const) {
      const value = options[name]
      if (value !== undefined) query.set(name, value)
    }
    if (after !== null) query.set('after', after)
    const page: Page = await client.json('GET', `/v1/jobs?${query}`)
    if (options.json) await terminal.write(page.data.map((job) => `${JSON.stringify(job)}\n`).join(''))
    found.push(...page.data)
    after = page.last_id
    if (!page.has_more || after === null) break
  }
  if (!options.json) await terminal.write(renderJobs(found, terminal.style))
  return ExitCode.ok
}

function renderJobs(jobs: Job[], style: Terminal['style']): string {
  const head = ['ID', 'STATUS', 'MODEL', 'GROUP', 'CREATED', 'USD', 'ERROR']
  const rows = jobs.map((job) => {
    const look = statusStyles[job.status]
    return [
      job.id,
      look === undefined ? job.status : style(look, job.status),
      job.model,
      job.group ?? '-',
      job.created_at,
      job.cost_usd === null ? '-' : formatUsd(job.cost_usd),
      job.error?.code ?? '',
    ]
  })
  return renderTable([head, ...rows], ['left', 'left', 'left', 'left', 'left', 'right', 'left'])
}

/** `jobs show ID`: the job as the server has it, with its calls where asked for. */
export async function runShow(
  terminal: Terminal,
  id: string,
  options: Common & { attempts?: boolean },
): Promise<ExitCode> {
  const client = connect(terminal, options, { patienceMs: options.patience })
  const path = `/v1/jobs/${encodeURIComponent(id)}`
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

/** `jobs retry ID…`, or without ids every failed job that the options choose. */
export async function runRetry(terminal: Terminal, ids: string[], options: RetryOptions): Promise<ExitCode> {
  if (ids.length > 0) return changeEach(terminal, ids, 'retry', options)
  const client = connect(terminal, options, { patienceMs: options.patience })
  const { group, lane, errorCode, limit } = options
  const { retried } = await client.json<{ retried: number }>('POST', '/v1/jobs/retry', {
    body: JSON.stringify({ group, lane, error_code: errorCode, limit }),
    headers: { 'content-type': 'application/json' },
  })
  await terminal.write(options.json ? `${JSON.stringify({ retried })}\n` : `queued ${retried} again\n`)
  return ExitCode.ok
}

/** One that cannot be changed keeps no other from it. */
async function changeEach(
  terminal: Terminal,
  ids: string[],
  change: 'cancel' | 'retry',
  options: Common,
): Promise<ExitCode> {
  const client = connect(terminal, options, { patienceMs: options.patience })
  let code: ExitCode = ExitCode.ok
  for (const id of ids) {
    const refusal = await changeOne(client, id, change, async (job) =>
      terminal.write(options.json ? `${JSON.stringify(job)}\n` : `${id}  ${job.status}\n`),
    )
    if (refusal === null) continue
    terminal.note(`${id}: ${refusal}`)
    code = ExitCode.failed
  }
  return code
}

async function changeOne(
  client: Client,
  id: string,
  change: 'cancel' | 'retry',
  report: (job: Job) => Promise<void>,
): Promise<string | null> {
  try {
    await report(await client.json<Job>('POST', `/v1/jobs/${encodeURIComponent(id)}/${change}`))
    return null
  } catch (error) {
    if (error instanceof RefusedError && error.exitCode === ExitCode.failed) return error.message
    throw error
  }
}
