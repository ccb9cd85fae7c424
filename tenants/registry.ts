import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Budget } from '../config/budget-windows.ts'
import { digestKey } from '../config/key-digest.ts'
import type { Scope } from '../config/scopes.ts'
import type { RedisClient } from '../lib/redis.ts'
import { SCRIPT_KEYS, scriptKeys } from '../lib/script-keys.ts'

/** Number of audit lines that are kept. */
const MAX_LINES = 10_000

/** Most tenants that the API may create, and most keys of one of them. */
const MAX_TENANTS = 1_000
const MAX_KEYS = 100

/** Tries of a change when other changes keep coming first. */
const MAX_TRIES = 10

/** Random bytes of a secret: twice the required minimum. */
const SECRET_BYTES = 32

/** A tenant created by the API. `settings`: in the form of the configuration; readers validate them. */
export type MadeTenant = { id: string; name: string; settings: TenantSettings; createdAt: number }

/** In the form that clients send: `{ weight, limits, models, cache }`. */
export type TenantSettings = { [name: string]: unknown }

export type MadeKey = {
  id: string
  /** Its tenant's name and id. A new tenant with the name of a deleted one does not get that one's keys. */
  tenant: string
  tenantId: string
  name: string | null
  digest: string
  /** The last characters of the secret, to tell keys apart. */
  hint: string
  scopes: readonly Scope[]
  models: readonly string[] | null
  budgets: readonly Budget[]
  /** Unix ms, like all times here. */
  expiresAt: number | null
  createdAt: number
}

export type AuditAction =
  | 'tenant.create'
  | 'tenant.update'
  | 'tenant.delete'
  | 'key.create'
  | 'key.revoke'
  | 'lane.pause'
  | 'lane.resume'
  | 'tenant.pause'
  | 'tenant.resume'

/** Who makes a change, and from where. */
export type Actor = { tenant: string; key: string | null; ip: string; requestId: string }

/** A line of the audit list. `id`: its position, which is also the cursor. */
export type AuditLine = {
  id: string
  at: number
  actor: Actor
  action: AuditAction
  /** What was changed: a tenant, a key or a lane. */
  target: { tenant: string | null; key: string | null; lane: string | null }
  /** Changed members, before and after. */
  changes: { [member: string]: { from: unknown; to: unknown } }
}

export type Snapshot = { version: string; tenants: Map<string, MadeTenant>; keys: Map<string, MadeKey> }

/** One value before and after a change; null: it does not exist. */
type Change = { hash: 'tenants' | 'keys'; field: string; from: object | null; to: object | null }

export type Outcome<T> =
  | { kind: 'done'; value: T }
  | { kind: 'none' | 'exists' | 'full' }
  /** Other changes came first each time. */
  | { kind: 'busy' }

/** The tenants and keys that the API creates, in Redis, with the audit list of changes. */
export type TenantRegistry = ReturnType<typeof createTenantRegistry>

/** The root of the registry's keys. Names of tenants are fields of its hashes, never parts of keys. */
function registryRoot(prefix: string): string {
  return `${prefix}:{registry}`
}

/** Pub/sub channel that announces changes of the registry. */
export function registryChannel(prefix: string): string {
  return `${prefix}:registry:changed`
}

export function createTenantRegistry(deps: {
  redis: RedisClient
  prefix: string
  /** Unix ms, by Redis' clock. */
  now: () => number
}) {
  const { redis, prefix } = deps
  const root = registryRoot(prefix)
  for (const name of ['read', 'change'] as const) {
    const lua = readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
    redis.defineCommand(commandOf(name), { numberOfKeys: SCRIPT_KEYS, lua })
  }
  const commands = redis as unknown as Record<string, (...args: (string | number)[]) => Promise<unknown>>
  const newId = (kind: string) => `${kind}_${randomBytes(16).toString('hex')}`

  /** The current state; null: it still has the known version. */
  async function read(known: string | null = null): Promise<Snapshot | null> {
    const answer = (await commands[commandOf('read')]!(...scriptKeys(root), known ?? '-')) as [
      string,
      string[]?,
      string[]?,
    ]
    const [version, tenants, keys] = answer
    if (tenants === undefined) return null
    return { version, tenants: toMap<MadeTenant>(tenants), keys: toMap<MadeKey>(keys ?? []) }
  }

  async function write(changes: Change[], line: Omit<AuditLine, 'id' | 'at'>): Promise<boolean> {
    const fields = changes.flatMap(({ hash, field, from, to }) => [hash, field, toText(from), toText(to)])
    const answer = await commands[commandOf('change')]!(
      ...scriptKeys(root),
      newId('v'),
      registryChannel(prefix),
      JSON.stringify(line),
      MAX_LINES,
      ...fields,
    )
    return String(answer) === 'done'
  }

  /** Decides by the current state, and again if the state changed meanwhile. */
  async function attempt<T>(
    decide: (
      now: Snapshot,
    ) =>
      | { changes: Change[]; line: Omit<AuditLine, 'id' | 'at'>; value: T }
      | { unchanged: T }
      | { refuse: 'none' | 'exists' | 'full' },
  ): Promise<Outcome<T>> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const decided = decide((await read())!)
      if ('refuse' in decided) return { kind: decided.refuse }
      if ('unchanged' in decided) return { kind: 'done', value: decided.unchanged }
      if (await write(decided.changes, decided.line)) return { kind: 'done', value: decided.value }
    }
    return { kind: 'busy' }
  }

  return {
    read,

    createTenant(name: string, settings: TenantSettings, actor: Actor): Promise<Outcome<MadeTenant>> {
      const tenant: MadeTenant = { id: newId('tenant'), name, settings, createdAt: deps.now() }
      return attempt<MadeTenant>(({ tenants }) => {
        if (tenants.has(name)) return { refuse: 'exists' }
        if (tenants.size >= MAX_TENANTS) return { refuse: 'full' }
        return {
          changes: [{ hash: 'tenants', field: name, from: null, to: tenant }],
          line: toLine(actor, 'tenant.create', { tenant: name }, compare({}, settings)),
          value: tenant,
        }
      })
    },

    /** @param change makes the new settings from the old ones; called again if the old ones changed meanwhile */
    changeTenant(
      name: string,
      change: (settings: TenantSettings) => TenantSettings,
      actor: Actor,
    ): Promise<Outcome<MadeTenant>> {
      return attempt<MadeTenant>(({ tenants }) => {
        const tenant = tenants.get(name)
        if (tenant === undefined) return { refuse: 'none' }
        const next = { ...tenant, settings: change(tenant.settings) }
        const changes = compare(tenant.settings, next.settings)
        if (Object.keys(changes).length === 0) return { unchanged: tenant }
        return {
          changes: [{ hash: 'tenants', field: name, from: tenant, to: next }],
          line: toLine(actor, 'tenant.update', { tenant: name }, changes),
          value: next,
        }
      })
    },

    /** Deletes the tenant and all its keys. */
    deleteTenant(name: string, actor: Actor): Promise<Outcome<MadeTenant>> {
      return attempt<MadeTenant>(({ tenants, keys }) => {
        const tenant = tenants.get(name)
        if (tenant === undefined) return { refuse: 'none' }
        const own = [...keys.values()].filter((key) => key.tenant === name)
        return {
          changes: [
            { hash: 'tenants', field: name, from: tenant, to: null },
            ...own.map((key): Change => ({ hash: 'keys', field: key.id, from: key, to: null })),
          ],
          line: toLine(actor, 'tenant.delete', { tenant: name }, compare(tenant.settings, {})),
          value: tenant,
        }
      })
    },

    /** Creates a key. Only this answer contains the secret; its SHA-256 is stored. */
    async createKey(
      tenantName: string,
      settings: Pick<MadeKey, 'name' | 'scopes' | 'models' | 'budgets' | 'expiresAt'>,
      actor: Actor,
    ): Promise<Outcome<{ key: MadeKey; secret: string }>> {
      const secret = `sk-sluice-${randomBytes(SECRET_BYTES).toString('base64url')}`
      const id = newId('key')
      return attempt<{ key: MadeKey; secret: string }>(({ tenants, keys }) => {
        const tenant = tenants.get(tenantName)
        if (tenant === undefined) return { refuse: 'none' }
        const own = [...keys.values()].filter(
          (key) => key.tenant === tenantName && key.tenantId === tenant.id,
        )
        if (own.length >= MAX_KEYS) return { refuse: 'full' }
        const { name, scopes, models, budgets, expiresAt } = settings
        const key: MadeKey = {
          ...{ id, tenant: tenantName, tenantId: tenant.id, name, scopes, models, budgets, expiresAt },
          digest: digestKey(secret).toString('hex'),
          hint: secret.slice(-4),
          createdAt: deps.now(),
        }
        return {
          // The tenant has to exist still, and to be the same one.
          changes: [
            { hash: 'tenants', field: tenantName, from: tenant, to: tenant },
            { hash: 'keys', field: id, from: null, to: key },
          ],
          line: toLine(
            actor,
            'key.create',
            { tenant: tenantName, key: id },
            compare({}, { name, scopes, models, budgets, expires_at: toIso(expiresAt) }),
          ),
          value: { key, secret },
        }
      })
    },

    revokeKey(tenantName: string, id: string, actor: Actor): Promise<Outcome<MadeKey>> {
      return attempt<MadeKey>(({ keys }) => {
        const key = keys.get(id)
        if (key === undefined || key.tenant !== tenantName) return { refuse: 'none' }
        return {
          changes: [{ hash: 'keys', field: id, from: key, to: null }],
          line: toLine(actor, 'key.revoke', { tenant: tenantName, key: id }, compare({ name: key.name }, {})),
          value: key,
        }
      })
    },

    /** Adds a line for a change that was made elsewhere. */
    async note(line: Omit<AuditLine, 'id' | 'at'>): Promise<void> {
      await redis.xadd(`${root}:audit`, 'MAXLEN', MAX_LINES, '*', 'line', JSON.stringify(line))
    },

    /** The newest lines first, after a line. Times are from Redis' clock. */
    async audit(limit: number, after: string | null): Promise<{ lines: AuditLine[]; hasMore: boolean }> {
      const from = after === null ? '+' : `(${after}`
      const found = await redis.xrevrange(`${root}:audit`, from, '-', 'COUNT', limit + 1)
      const lines = found.slice(0, limit).map(([id, fields]) => {
        const line = JSON.parse(fields[1]!) as Omit<AuditLine, 'id' | 'at'>
        return { ...line, id, at: Number(id.split('-')[0]) }
      })
      return { lines, hasMore: found.length > limit }
    },
  }
}

export function toLine(
  actor: Actor,
  action: AuditAction,
  target: Partial<AuditLine['target']>,
  changes: AuditLine['changes'] = {},
): Omit<AuditLine, 'id' | 'at'> {
  return { actor, action, target: { tenant: null, key: null, lane: null, ...target }, changes }
}

function compare(before: TenantSettings, after: TenantSettings): AuditLine['changes'] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  const changed = [...names].filter((name) => toText(before[name] ?? null) !== toText(after[name] ?? null))
  return Object.fromEntries(
    changed.map((name) => [name, { from: before[name] ?? null, to: after[name] ?? null }]),
  )
}

function toIso(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString()
}

/** JSON text of a value. Its members have a fixed order, so equal values have equal texts. */
function toText(value: unknown): string {
  return value === null ? '' : JSON.stringify(value)
}

function toMap<T>(flat: readonly string[]): Map<string, T> {
  const map = new Map<string, T>()
  for (let at = 0; at < flat.length; at += 2) map.set(flat[at]!, JSON.parse(flat[at + 1]!) as T)
  return map
}

function commandOf(name: 'read' | 'change'): string {
  return `sluiceRegistry${name[0]!.toUpperCase()}${name.slice(1)}`
}
