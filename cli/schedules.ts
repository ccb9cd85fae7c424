import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import type { Schedule, ScheduleRun } from '../client/openapi.ts'
import { type Client, RefusedError } from './client.ts'
import { CliError, ExitCode } from './exit.ts'
import { formatAge } from './format.ts'
import { refuseInput } from './input-file.ts'
import { listPages } from './list-pages.ts'
import { type Column, renderColumns, widthOf } from './table.ts'
import { askEach, connectSeen, findOwner, type Seen, withTenant } from './tenants.ts'
import type { ServerOptions, Terminal } from './terminal.ts'

type Common = ServerOptions & { json?: boolean; patience: number }

const json = { 'content-type': 'application/json' }
const pathOf = (id: string) => `/v1/schedules/${encodeURIComponent(id)}`

const COLUMNS: Column[] = [
  { title: 'ID' },
  { title: 'NAME', least: 6 },
  { title: 'TIMES', least: 9 },
  { title: 'NEXT' },
  { title: 'LAST', leaveOut: 2 },
  { title: 'RUNS', side: 'right', leaveOut: 1 },
  { title: 'STATE' },
]
const RUN_COLUMNS: Column[] = [
  { title: 'SCHEDULED FOR' },
  { title: 'TRIGGER', leaveOut: 1 },
  { title: 'OUTCOME' },
  { title: 'MADE', least: 12 },
]

/** `schedules list`: newest first. */
export async function runList(terminal: Terminal, options: Common & { limit: number }): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  const answers = await askEach(seen, ({ client }) =>
    Array.fromAsync(listPages<Schedule>(client, '/v1/schedules', options.limit)),
  )
  const schedules = answers
    .flatMap(({ tenant, answer }) => answer.map((schedule) => ({ tenant, schedule })))
    .sort((one, other) => Date.parse(other.schedule.created_at) - Date.parse(one.schedule.created_at))
    .slice(0, options.limit)
  if (options.json) {
    const lines = schedules.map(({ tenant, schedule }) => `${JSON.stringify(withTenant(tenant, schedule))}\n`)
    await terminal.write(lines.join(''))
    return ExitCode.ok
  }
  const isOfMany = seen.length > 1
  const rows = schedules.map(({ tenant, schedule }) => [
    ...(isOfMany ? [tenant ?? ''] : []),
    schedule.id,
    schedule.name ?? '-',
    describeTimes(schedule),
    schedule.paused ? '-' : formatAge(schedule.next_runs[0] ?? null, terminal.now()),
    schedule.last_run === null ? '-' : describeOutcome(schedule.last_run.outcome, terminal.style),
    String(schedule.runs),
    describeState(schedule, terminal.style),
  ])
  const columns = isOfMany ? [{ title: 'TENANT', least: 8 }, ...COLUMNS] : COLUMNS
  await terminal.write(renderColumns(columns, rows, widthOf(terminal.stdout)))
  return ExitCode.ok
}

/** `schedules show ID` */
export async function runShow(terminal: Terminal, id: string, options: Common): Promise<ExitCode> {
  const client = await ownerOf(terminal, id, options)
  const schedule = await client.json<object>('GET', pathOf(id))
  await terminal.write(`${options.json ? JSON.stringify(schedule) : JSON.stringify(schedule, null, 2)}\n`)
  return ExitCode.ok
}

/** `schedules create FILE`: creates a schedule from JSON, as for `POST /v1/schedules`; `-` is stdin. */
export async function runCreate(terminal: Terminal, file: string, options: Common): Promise<ExitCode> {
  const body = await readText(file)
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  if (seen.length > 1) throw new CliError(ExitCode.usage, 'name the tenant of the schedule with --tenant')
  // Sent again if the answer is lost; with the key it is the same schedule.
  const headers = { ...json, 'idempotency-key': crypto.randomUUID() }
  const schedule = await seen[0]!.client.json<Schedule>('POST', '/v1/schedules', { body, headers })
  const next = schedule.next_runs[0] ?? 'never'
  await terminal.write(options.json ? `${JSON.stringify(schedule)}\n` : `${schedule.id}  next: ${next}\n`)
  return ExitCode.ok
}

/** `schedules pause ID…` and `schedules resume ID…` */
export function runPause(
  terminal: Terminal,
  ids: string[],
  paused: boolean,
  options: Common,
): Promise<ExitCode> {
  return changeEach(terminal, ids, options, async (client, id) => {
    const body = JSON.stringify({ paused })
    const schedule = await client.json<Schedule>('PATCH', pathOf(id), { body, headers: json })
    return { value: schedule, text: paused ? 'paused' : `next: ${schedule.next_runs[0] ?? 'never'}` }
  })
}

/** `schedules run ID…`: now, in addition to the slots. */
export function runNow(terminal: Terminal, ids: string[], options: Common): Promise<ExitCode> {
  return changeEach(terminal, ids, options, async (client, id) => {
    const headers = { 'idempotency-key': crypto.randomUUID() }
    const made = await client.json<{ id: string }>('POST', `${pathOf(id)}/run`, { headers })
    return { value: made, text: made.id }
  })
}

/** `schedules delete ID…` */
export function runDelete(terminal: Terminal, ids: string[], options: Common): Promise<ExitCode> {
  return changeEach(terminal, ids, options, async (client, id) => ({
    value: await client.json<object>('DELETE', pathOf(id)),
    text: 'deleted',
  }))
}

/** `schedules runs ID`: the outcomes of its slots, newest first. */
export async function runRuns(
  terminal: Terminal,
  id: string,
  options: Common & { limit: number },
): Promise<ExitCode> {
  const client = await ownerOf(terminal, id, options)
  const runs = await Array.fromAsync(listPages<ScheduleRun>(client, `${pathOf(id)}/runs`, options.limit))
  if (options.json) {
    await terminal.write(runs.map((run) => `${JSON.stringify(run)}\n`).join(''))
    return ExitCode.ok
  }
  const rows = runs.map((run) => [
    run.scheduled_for,
    run.trigger,
    describeOutcome(run.outcome, terminal.style),
    run.job_id ?? run.flow_id ?? run.error?.code ?? '-',
  ])
  await terminal.write(renderColumns(RUN_COLUMNS, rows, widthOf(terminal.stdout)))
  return ExitCode.ok
}

async function ownerOf(terminal: Terminal, id: string, options: Common): Promise<Client> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  return (await findOwner(seen, pathOf(id), id)).client
}

type Change = (client: Client, id: string) => Promise<{ value: object; text: string }>

/** Changes each schedule. A failure does not stop the others. */
async function changeEach(
  terminal: Terminal,
  ids: string[],
  options: Common,
  change: Change,
): Promise<ExitCode> {
  const seen = await connectSeen(terminal, options, { patienceMs: options.patience })
  let code: ExitCode = ExitCode.ok
  for (const id of ids) {
    const refusal = await changeOne(seen, id, change, async ({ value, text }) =>
      terminal.write(options.json ? `${JSON.stringify(value)}\n` : `${id}  ${text}\n`),
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
  change: Change,
  report: (changed: Awaited<ReturnType<Change>>) => Promise<void>,
): Promise<string | null> {
  try {
    const { client } = await findOwner(seen, pathOf(id), id)
    await report(await change(client, id))
    return null
  } catch (error) {
    if (error instanceof RefusedError && error.exitCode === ExitCode.failed) return error.members.message
    throw error
  }
}

async function readText(file: string): Promise<string> {
  if (file === '-') return text(process.stdin)
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw refuseInput(error, file)
  }
}

function describeTimes({ cron, every, time_zone: zone }: Schedule): string {
  if (cron === null) return `every ${every}`
  return zone === 'UTC' ? cron : `${cron} ${zone}`
}

function describeState({ paused, next_runs: next, source }: Schedule, style: Terminal['style']): string {
  const state = paused ? style('yellow', 'paused') : next.length === 0 ? 'ended' : style('green', 'active')
  return source === 'file' ? `${state} (file)` : state
}

function describeOutcome(outcome: ScheduleRun['outcome'], style: Terminal['style']): string {
  if (outcome === 'created') return style('green', outcome)
  return style(outcome === 'refused' ? 'red' : 'yellow', outcome)
}
