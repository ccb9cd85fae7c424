import type { Client } from './client.ts'
import { CliError, ExitCode } from './exit.ts'
import { type Column, renderColumns, widthOf } from './table.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

/** Options of the commands for tenants and keys. */
export type AdminOptions = ServerOptions & { json?: boolean; patience: number }

type TenantView = { name: string; source: string; weight: number; models: string[] | null }
type KeyView = {
  id: string
  name: string | null
  hint: string
  scopes: string[]
  models: string[] | null
  expires_at: string | null
}
type AuditView = {
  at: string
  actor: { tenant: string; key: string | null; ip: string }
  action: string
  target: { tenant: string | null; key: string | null; lane: string | null }
}

const TENANT_COLUMNS: Column[] = [
  { title: 'TENANT', least: 16 },
  { title: 'SOURCE' },
  { title: 'WEIGHT', side: 'right' },
  { title: 'MODELS', least: 12 },
]
const KEY_COLUMNS: Column[] = [
  { title: 'ID' },
  { title: 'NAME', least: 6 },
  { title: 'SECRET', leaveOut: 2 },
  { title: 'SCOPES', least: 6 },
  { title: 'MODELS', least: 6, leaveOut: 1 },
  { title: 'EXPIRES' },
]
const AUDIT_COLUMNS: Column[] = [
  { title: 'AT' },
  { title: 'WHO', least: 8 },
  { title: 'FROM', leaveOut: 1 },
  { title: 'WHAT', least: 12 },
  { title: 'OF', least: 8 },
]

const json = { 'content-type': 'application/json' }
const pathOf = (name: string) => `/v1/tenants/${encodeURIComponent(name)}`
const clientOf = (terminal: Terminal, options: AdminOptions) =>
  connect(terminal, options, { patienceMs: options.patience })

/** `tenants list` */
export async function runListTenants(terminal: Terminal, options: AdminOptions): Promise<ExitCode> {
  const { data } = await clientOf(terminal, options).json<{ data: TenantView[] }>('GET', '/v1/tenants')
  const rows = data.map(({ name, source, weight, models }) => [
    name,
    source,
    String(weight),
    models?.join(' ') ?? 'all',
  ])
  return show(terminal, options, data, TENANT_COLUMNS, rows)
}

/** `tenants create NAME`; `settings` is the JSON body of the API, without the name. */
export async function runCreateTenant(
  terminal: Terminal,
  name: string,
  options: AdminOptions & { settings?: string },
): Promise<ExitCode> {
  const body = { ...readSettings(options.settings), name }
  return change(terminal, options, 'POST', '/v1/tenants', body, `created the tenant ${name}`)
}

/** `tenants change NAME` */
export async function runChangeTenant(
  terminal: Terminal,
  name: string,
  options: AdminOptions & { settings: string },
): Promise<ExitCode> {
  const body = readSettings(options.settings)
  return change(terminal, options, 'PATCH', pathOf(name), body, `changed the tenant ${name}`)
}

/** `tenants delete NAME` */
export function runDeleteTenant(terminal: Terminal, name: string, options: AdminOptions): Promise<ExitCode> {
  return change(terminal, options, 'DELETE', pathOf(name), null, `deleted the tenant ${name} and its keys`)
}

/** `tenants pause NAME` */
export function runPauseTenant(
  terminal: Terminal,
  name: string,
  options: AdminOptions & { for?: number; reason?: string },
): Promise<ExitCode> {
  const body = { for_ms: options.for, reason: options.reason }
  return change(terminal, options, 'POST', `${pathOf(name)}/pause`, body, `paused the tenant ${name}`)
}

/** `tenants resume NAME` */
export function runResumeTenant(terminal: Terminal, name: string, options: AdminOptions): Promise<ExitCode> {
  return change(terminal, options, 'POST', `${pathOf(name)}/resume`, null, `resumed the tenant ${name}`)
}

/** `keys list TENANT` */
export async function runListKeys(
  terminal: Terminal,
  name: string,
  options: AdminOptions,
): Promise<ExitCode> {
  const { data } = await clientOf(terminal, options).json<{ data: KeyView[] }>('GET', `${pathOf(name)}/keys`)
  const rows = data.map((key) => [
    key.id,
    key.name ?? '-',
    `…${key.hint}`,
    key.scopes.join(' '),
    key.models?.join(' ') ?? 'all',
    key.expires_at?.slice(0, 10) ?? 'never',
  ])
  return show(terminal, options, data, KEY_COLUMNS, rows)
}

export type NewKeyOptions = AdminOptions & {
  name?: string
  scopes?: string[]
  models?: string[]
  budgets?: string
  expiresAt?: string
}

/** `keys create TENANT`: writes its secret to stdout, only this once. */
export async function runCreateKey(
  terminal: Terminal,
  tenant: string,
  options: NewKeyOptions,
): Promise<ExitCode> {
  const { name, scopes, models, expiresAt } = options
  const budgets = readBudgets(options.budgets)
  const body = JSON.stringify({ name, scopes, models, budgets, expires_at: expiresAt })
  // A repeated request would create a second key.
  const request = { body, headers: json, patienceMs: 0 }
  const key = await clientOf(terminal, options).json<KeyView & { secret: string }>(
    ...(['POST', `${pathOf(tenant)}/keys`, request] as const),
  )
  if (!options.json) terminal.note(`created ${key.id}; its secret is shown this once:`)
  await terminal.write(`${options.json ? JSON.stringify(key) : key.secret}\n`)
  return ExitCode.ok
}

/** `keys revoke TENANT ID` */
export function runRevokeKey(
  terminal: Terminal,
  tenant: string,
  id: string,
  options: AdminOptions,
): Promise<ExitCode> {
  const path = `${pathOf(tenant)}/keys/${encodeURIComponent(id)}`
  return change(terminal, options, 'DELETE', path, null, `revoked ${id}`)
}

/** `audit`: who changed what, newest first. */
export async function runAudit(
  terminal: Terminal,
  options: AdminOptions & { limit: number },
): Promise<ExitCode> {
  const client = clientOf(terminal, options)
  const lines = await readAudit(client, options.limit)
  const rows = lines.map(({ at, actor, action, target }) => [
    `${at.slice(0, 19)}Z`,
    actor.key === null ? actor.tenant : `${actor.tenant} ${actor.key}`,
    actor.ip,
    action,
    [target.tenant, target.key, target.lane].filter((one) => one !== null).join(' '),
  ])
  return show(terminal, options, lines, AUDIT_COLUMNS, rows)
}

async function readAudit(client: Client, limit: number): Promise<AuditView[]> {
  const lines: AuditView[] = []
  for (let after = ''; lines.length < limit; ) {
    const page = await client.json<{ data: AuditView[]; has_more: boolean; last_id: string | null }>(
      ...(['GET', `/v1/audit?limit=${Math.min(1000, limit - lines.length)}${after}`] as const),
    )
    lines.push(...page.data)
    if (!page.has_more) break
    after = `&after=${page.last_id}`
  }
  return lines
}

async function show(
  terminal: Terminal,
  options: AdminOptions,
  data: readonly object[],
  columns: Column[],
  rows: string[][],
): Promise<ExitCode> {
  const text = options.json
    ? data.map((one) => `${JSON.stringify(one)}\n`).join('')
    : renderColumns(columns, rows, widthOf(terminal.stdout))
  await terminal.write(text)
  return ExitCode.ok
}

async function change(
  terminal: Terminal,
  options: AdminOptions,
  method: string,
  path: string,
  body: object | null,
  done: string,
): Promise<ExitCode> {
  const request = body === null ? {} : { body: JSON.stringify(body), headers: json }
  const answer = await clientOf(terminal, options).json<object>(method, path, request)
  if (options.json) await terminal.write(`${JSON.stringify(answer)}\n`)
  else terminal.note(done)
  return ExitCode.ok
}

function readBudgets(text: string | undefined): unknown {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw new CliError(ExitCode.usage, '--budgets: expected JSON such as [{"usd":5,"per":"day"}]')
  }
}

function readSettings(text: string | undefined): object {
  if (text === undefined) return {}
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch {
    // Reported below.
  }
  throw new CliError(ExitCode.usage, '--settings: expected a JSON object such as {"weight":3}')
}
