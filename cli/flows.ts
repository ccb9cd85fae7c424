import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { parseDocument } from 'yaml'
import { toHeaders } from '../client/events.ts'
import { followStream } from '../client/follow-stream.ts'
import type { Flow, FlowStep, FlowSummary } from '../client/openapi.ts'
import { type Client, FIRST_PATIENCE_MS } from './client.ts'
import { CliError, ExitCode } from './exit.ts'
import { formatAge, formatUsd } from './format.ts'
import { refuseInput } from './input-file.ts'
import { listPages } from './list-pages.ts'
import { type Column, renderColumns, widthOf } from './table.ts'
import { askEach, connectSeen, findOwner, withTenant } from './tenants.ts'
import type { ServerOptions, Terminal } from './terminal.ts'

type Options = ServerOptions & { json?: boolean; patience: number }

/** Pause between the end of a stream and the next request, ms. */
const PAUSE_MS = 200

const styles: Record<string, 'green' | 'red' | 'yellow'> = {
  completed: 'green',
  failed: 'red',
  cancelled: 'yellow',
  skipped: 'yellow',
  waiting: 'yellow',
}

/** `flows run FILE`: creates a flow, shows its steps as they end, and writes its output. Exit code 1 if it did not complete. */
export async function runFlow(
  terminal: Terminal,
  path: string,
  options: Options & { input?: string; detach?: boolean },
): Promise<ExitCode> {
  const create = await readFlow(path, options.input)
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  if (seen.length > 1) throw new CliError(ExitCode.usage, 'name the tenant of the flow with --tenant')
  const { client } = seen[0]!
  const created = await client.json<Flow>('POST', '/v1/flows', {
    body: JSON.stringify(create),
    headers: { 'content-type': 'application/json', 'idempotency-key': randomUUID() },
  })
  terminal.note(`${created.id}  ${created.name}`)
  if (options.detach) {
    await terminal.write(options.json ? `${JSON.stringify(created)}\n` : `${created.id}\n`)
    return ExitCode.ok
  }
  await followFlow(terminal, client, created.id, options)
  return writeEnd(terminal, client, created.id, options)
}

/** Reads a create object as YAML, which includes JSON. */
async function readFlow(path: string, input: string | undefined): Promise<object> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw refuseInput(error, path)
  }
  const document = parseDocument(text)
  const [fault] = document.errors
  if (fault) throw new CliError(ExitCode.usage, `${path}: ${fault.message}`)
  const flow: unknown = document.toJS()
  if (typeof flow !== 'object' || flow === null)
    throw new CliError(ExitCode.usage, `${path}: contains no flow`)
  return input === undefined ? flow : { ...flow, input: readJson(input, 'the input') }
}

function readJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new CliError(ExitCode.usage, `${what} is not JSON; write a string as '"…"'`)
  }
}

/** Shows all events until the end, and reconnects when a connection breaks. */
async function followFlow(terminal: Terminal, client: Client, id: string, options: Options): Promise<void> {
  let patience = Math.min(options.patience, FIRST_PATIENCE_MS)
  const batches = followStream({
    open: (lastEventId, signal) =>
      client.open(`${flowPath(id)}/events`, {
        headers: toHeaders(lastEventId),
        patienceMs: patience,
        signal,
      }),
    onOpen: () => {
      patience = options.patience
    },
    async goOn({ how, error }) {
      if (how === 'unopened') throw error
      await terminal.sleep(PAUSE_MS)
      return true
    },
    after: undefined,
    signal: terminal.signal,
  })
  for await (const events of batches) {
    for (const { type, data: text } of events) {
      const { at, step, error } = JSON.parse(text) as { at: string; step?: string; error?: FlowStep['error'] }
      const [what = '', how = ''] = type.split('.')
      const look = styles[how]
      const shown = look === undefined ? how : terminal.style(look, how)
      terminal.note(`${at}  ${step ?? what}  ${shown}${error ? `  ${error.code}: ${error.message}` : ''}`)
    }
  }
}

async function writeEnd(terminal: Terminal, client: Client, id: string, options: Options): Promise<ExitCode> {
  const flow = await client.json<Flow>('GET', flowPath(id))
  if (options.json) await terminal.write(`${JSON.stringify(flow)}\n`)
  else if (flow.status === 'completed') {
    const { output } = flow
    await terminal.write(`${typeof output === 'string' ? output : JSON.stringify(output, null, 2)}\n`)
  } else terminal.note(flow.error === null ? flow.status : `${flow.error.code}: ${flow.error.message}`)
  return flow.status === 'completed' ? ExitCode.ok : ExitCode.failed
}

/** `flows list`: newest first. */
export async function runListFlows(
  terminal: Terminal,
  options: Options & { status?: string; name?: string; limit: number },
): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  const answers = await askEach(seen, ({ client }) =>
    Array.fromAsync(
      listPages<FlowSummary>(client, '/v1/flows', options.limit, {
        status: options.status,
        name: options.name,
      }),
    ),
  )
  const flows = answers
    .flatMap(({ tenant, answer }) => answer.map((flow) => ({ tenant, flow })))
    .sort((one, other) => Date.parse(other.flow.created_at) - Date.parse(one.flow.created_at))
    .slice(0, options.limit)
  if (options.json) {
    const lines = flows.map(({ tenant, flow }) => `${JSON.stringify(withTenant(tenant, flow))}\n`)
    await terminal.write(lines.join(''))
  } else await terminal.write(renderFlows(flows, terminal))
  return ExitCode.ok
}

const COLUMNS: Column[] = [
  { title: 'ID' },
  { title: 'NAME', least: 8 },
  { title: 'STATUS' },
  { title: 'STEPS', side: 'right', leaveOut: 1 },
  { title: 'AGE', side: 'right' },
  { title: 'USD', side: 'right', leaveOut: 2 },
  { title: 'ERROR', least: 8 },
]

function renderFlows(flows: { tenant: string | null; flow: FlowSummary }[], terminal: Terminal): string {
  const isOfMany = flows.some(({ tenant }) => tenant !== null)
  const rows = flows.map(({ tenant, flow }) => {
    const { id, name, status, step_counts: counts, created_at, cost_usd, error } = flow
    const look = styles[status]
    const shown = look === undefined ? status : terminal.style(look, status)
    const done = `${counts.completed + counts.failed + counts.skipped}/${counts.total}`
    const age = formatAge(created_at, terminal.now())
    return [
      ...(isOfMany ? [tenant ?? ''] : []),
      ...[id, name, shown, done, age, formatUsd(cost_usd), error?.code ?? ''],
    ]
  })
  const columns = isOfMany ? [{ title: 'TENANT', least: 8 }, ...COLUMNS] : COLUMNS
  return renderColumns(columns, rows, widthOf(terminal.stdout))
}

/** `flows show ID`: the state of each step. */
export async function runShowFlow(terminal: Terminal, id: string, options: Options): Promise<ExitCode> {
  const client = await findFlow(terminal, id, options)
  const flow = await client.json<Flow>('GET', flowPath(id))
  await terminal.write(options.json ? `${JSON.stringify(flow)}\n` : renderFlow(flow, terminal))
  return ExitCode.ok
}

const STEP_COLUMNS: Column[] = [
  { title: 'STEP', least: 12 },
  { title: 'STATUS' },
  { title: 'NEEDS', least: 8, leaveOut: 1 },
  { title: 'JOBS', side: 'right' },
  { title: 'STARTED', side: 'right' },
  { title: 'FINISHED', side: 'right' },
  { title: 'ERROR', least: 12 },
]

function renderFlow(flow: Flow, terminal: Terminal): string {
  const rows = Object.entries(flow.steps).map(([name, step]) => {
    const look = styles[step.status]
    const shown = look === undefined ? step.status : terminal.style(look, step.status)
    const { completed, failed, total } = step.jobs
    const jobs = total === 0 ? '-' : `${completed + failed}/${total}`
    const times = [step.started_at, step.finished_at].map((time) => formatAge(time, terminal.now()))
    return [name, shown, step.needs.join(',') || '-', jobs, ...times, step.error?.code ?? '']
  })
  const title = `${flow.id}  ${flow.name}  ${flow.status}  ${formatUsd(flow.cost_usd)}\n\n`
  return title + renderColumns(STEP_COLUMNS, rows, widthOf(terminal.stdout))
}

/** `flows cancel ID` and `flows retry ID`. */
export async function runChangeFlow(
  terminal: Terminal,
  id: string,
  change: 'cancel' | 'retry',
  options: Options,
): Promise<ExitCode> {
  const client = await findFlow(terminal, id, options)
  const flow = await client.json<Flow>('POST', `${flowPath(id)}/${change}`)
  await terminal.write(options.json ? `${JSON.stringify(flow)}\n` : `${id}  ${flow.status}\n`)
  return ExitCode.ok
}

/** `flows signal ID STEP [JSON]`: sends a value to a step, which may wait for it now or later; default `true`. */
export async function runSignalFlow(
  terminal: Terminal,
  id: string,
  step: string,
  value: string,
  options: Options,
): Promise<ExitCode> {
  const body = JSON.stringify(readJson(value, 'the value'))
  const client = await findFlow(terminal, id, options)
  const path = `${flowPath(id)}/signals/${encodeURIComponent(step)}`
  const flow = await client.json<Flow>('POST', path, {
    body,
    headers: { 'content-type': 'application/json' },
  })
  await terminal.write(options.json ? `${JSON.stringify(flow)}\n` : `${id}  ${step}  ${body}\n`)
  return ExitCode.ok
}

async function findFlow(terminal: Terminal, id: string, options: Options): Promise<Client> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  return (await findOwner(seen, flowPath(id), id)).client
}

function flowPath(id: string): string {
  return `/v1/flows/${encodeURIComponent(id)}`
}
