import { randomUUID } from 'node:crypto'
import type { DurableRun, DurableRunSummary, DurableSignal } from '../client/openapi.ts'
import { CliError, ExitCode } from './exit.ts'
import { formatAge } from './format.ts'
import { listPages } from './list-pages.ts'
import { type Column, renderColumns, widthOf } from './table.ts'
import { askEach, connectSeen, findOwner, type Seen, withTenant } from './tenants.ts'
import type { ServerOptions, Terminal } from './terminal.ts'

type Options = ServerOptions & { json?: boolean; patience: number }

type Status = DurableRun['steps'][number]['status']
const styles: Partial<Record<Status, 'green' | 'red' | 'yellow'>> = {
  completed: 'green',
  failed: 'red',
  cancelled: 'yellow',
  timed_out: 'yellow',
}

const RUN_COLUMNS: Column[] = [
  { title: 'ID', least: 12 },
  { title: 'STEPS', side: 'right' },
  { title: 'SIGNALS', side: 'right', leaveOut: 1 },
  { title: 'AGE', side: 'right' },
  { title: 'KEPT', side: 'right', leaveOut: 2 },
]

/** `durable list`: newest first. */
export async function runListDurable(
  terminal: Terminal,
  options: Options & { limit: number },
): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  const answers = await askEach(seen, ({ client }) =>
    Array.fromAsync(listPages<DurableRunSummary>(client, '/v1/durable', options.limit)),
  )
  const runs = answers
    .flatMap(({ tenant, answer }) => answer.map((run) => ({ tenant, run })))
    .sort((one, other) => Date.parse(other.run.created_at) - Date.parse(one.run.created_at))
    .slice(0, options.limit)
  if (options.json) {
    await terminal.write(
      runs.map(({ tenant, run }) => `${JSON.stringify(withTenant(tenant, run))}\n`).join(''),
    )
  } else await terminal.write(renderRuns(runs, terminal))
  return ExitCode.ok
}

function renderRuns(runs: { tenant: string | null; run: DurableRunSummary }[], terminal: Terminal): string {
  const isOfMany = runs.some(({ tenant }) => tenant !== null)
  const rows = runs.map(({ tenant, run }) => {
    const { id, step_count, signal_count, created_at, expires_at } = run
    const [age, kept] = [created_at, expires_at].map((time) => formatAge(time, terminal.now()))
    return [
      ...(isOfMany ? [tenant ?? ''] : []),
      ...[id, String(step_count), String(signal_count), age!, kept!],
    ]
  })
  const columns = isOfMany ? [{ title: 'TENANT', least: 8 }, ...RUN_COLUMNS] : RUN_COLUMNS
  return renderColumns(columns, rows, widthOf(terminal.stdout))
}

const COLUMNS: Column[] = [
  { title: 'STEP', least: 12 },
  { title: 'KIND', leaveOut: 1 },
  { title: 'STATUS' },
  { title: 'BEGAN', side: 'right' },
  { title: 'UNTIL', side: 'right' },
  { title: 'JOB' },
]

/** `durable show ID`: the steps of a durable function, in the order in which they started. */
export async function runShowDurable(terminal: Terminal, id: string, options: Options): Promise<ExitCode> {
  const { client } = await findRun(terminal, id, options)
  const run = await client.json<DurableRun>('GET', runPath(id))
  const rows = run.steps.map(({ name, kind, status, created_at, wake_at, job_id }) => {
    const look = styles[status]
    const shown = look === undefined ? status : terminal.style(look, status)
    const times = [created_at, wake_at].map((time) => formatAge(time, terminal.now()))
    return [name, kind, shown, ...times, job_id ?? '-']
  })
  const table = renderColumns(COLUMNS, rows, widthOf(terminal.stdout))
  await terminal.write(options.json ? `${JSON.stringify(run)}\n` : table)
  return ExitCode.ok
}

/** `durable signal ID NAME [JSON]`: sends a value to a step, which may wait for it now or later; default `true`. */
export async function runSignalDurable(
  terminal: Terminal,
  id: string,
  name: string,
  value: string,
  options: Options,
): Promise<ExitCode> {
  const body = readJson(value)
  const { client } = await findRun(terminal, id, options)
  const sent = await client.json<DurableSignal>(
    'POST',
    `${runPath(id)}/signals/${encodeURIComponent(name)}`,
    {
      body,
      headers: { 'content-type': 'application/json', 'idempotency-key': randomUUID() },
    },
  )
  await terminal.write(options.json ? `${JSON.stringify(sent)}\n` : `${id}  ${name}  ${body}\n`)
  return ExitCode.ok
}

/** `durable delete ID`: deletes a durable function with its jobs. */
export async function runDeleteDurable(terminal: Terminal, id: string, options: Options): Promise<ExitCode> {
  const { client } = await findRun(terminal, id, options)
  const deleted = await client.json<object>('DELETE', runPath(id))
  await terminal.write(options.json ? `${JSON.stringify(deleted)}\n` : `${id}  deleted\n`)
  return ExitCode.ok
}

async function findRun(terminal: Terminal, id: string, options: Options): Promise<Seen> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  return findOwner(seen, runPath(id), id)
}

function runPath(id: string): string {
  return `/v1/durable/${encodeURIComponent(id)}`
}

function readJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    throw new CliError(ExitCode.usage, `the value is not JSON; write a string as '"${text}"'`)
  }
}
