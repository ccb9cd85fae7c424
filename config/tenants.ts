import { timingSafeEqual } from 'node:crypto'
import type { Budget } from './budget-windows.ts'
import { digestConfiguredKey, digestKey } from './key-digest.ts'
import { type KeyTerms, underTerms } from './key-terms.ts'
import type { Config } from './schema.ts'
import { defaultScopes, type Scope } from './scopes.ts'

/** The tenant of a request, with all settings resolved. */
export type Tenant = KeyTerms & {
  name: string
  /** The scopes of the key that was sent; of all the tenant's keys if the tenant was looked up by name. */
  scopes: readonly Scope[]
  /** It may read the data of all tenants, and change nothing. */
  readsAll?: true
  /** The id of the key that was sent. Null: a key of the configuration, or none. */
  key: string | null
  /** The tenant's share of a busy lane, relative to the weights of the others. */
  weight: number
  /** The limits of each fair key; absent: no limits. */
  perFairKey?: FairKeyLimits
  /** The budgets of each fair key. */
  fairKeyBudgets?: readonly Budget[]
  /** Settings of all budgets. */
  budgetRules: { unknownPrice: 'allow' | 'refuse'; operationsUrl: string | null }
  /** `off`, by the settings of the tenant or of the installation: no answers are cached or shared. */
  cache?: 'off'
  limits: {
    requests_per_minute?: number
    max_queued: number
    budget_usd_per_day?: number
    budgets?: readonly Budget[]
    /** Absent: `jobs.max_schedules`. */
    max_schedules?: number
  }
}

/** Null: no limit. */
export type FairKeyLimits = {
  maxRunning: number | null
  maxQueued: number | null
  requestsPerMinute: number | null
}

/** A key that was created by the API. */
export type RunTimeKey = {
  id: string
  tenant: string
  /** Its purpose; absent: unknown. */
  name?: string | null
  /** SHA-256 of the secret, hex. */
  digest: string
  scopes: readonly Scope[]
  models: readonly string[] | null
  /** Absent: none. */
  budgets?: readonly Budget[]
  /** Unix ms; null: never. */
  expiresAt: number | null
}

export type Keyring = {
  /** True: no tenants are configured, and every key, or none, finds the tenant `default`. */
  open: boolean
  /** The tenant of a key that a client sent; null for an unknown or expired key. */
  find(key: string): Tenant | null
  /** Whether this is a key of the configuration file. */
  isConfigured(key: string): boolean
  /** The tenant with this name; null: unknown. */
  named(name: string): Tenant | null
  /** Whether any key expires, which invalidates it without a change of the keyring. */
  expires: boolean
}

/** The tenant with this name, including the one of an open service; null: not configured. */
export function resolveTenant(config: Config, name: string): Tenant | null {
  if (Object.keys(config.tenants).length === 0)
    return name === openTenant(config).name ? openTenant(config) : null
  if (!Object.hasOwn(config.tenants, name)) return null
  const { admin, weight, limits, cache, models, per_fair_key: perFairKey } = config.tenants[name]!
  const isOff = config.cache.mode === 'off' || cache.mode === 'off'
  return {
    name,
    scopes: admin === 'read' ? ['read'] : admin ? ['admin'] : defaultScopes,
    ...(admin === 'read' ? { readsAll: true as const } : {}),
    key: null,
    weight,
    ...(models === undefined ? {} : { models: [models] }),
    budgetRules: budgetRulesOf(config),
    ...(isOff ? { cache: 'off' as const } : {}),
    ...readFairKeyRules(perFairKey),
    limits: { max_queued: config.jobs.max_queued, ...limits },
  }
}

/** The limits and budgets of fair keys. Without limits their jobs need not be counted. */
function readFairKeyRules(
  rules: Config['tenants'][string]['per_fair_key'] = {},
): Pick<Tenant, 'perFairKey' | 'fairKeyBudgets'> {
  const limits: FairKeyLimits = {
    maxRunning: rules.max_running ?? null,
    maxQueued: rules.max_queued ?? null,
    requestsPerMinute: rules.requests_per_minute ?? null,
  }
  const { budget_usd_per_day: usd, budgets = [] } = rules
  const day = usd === undefined ? [] : [{ usd, per: 'day' as const, time_zone: 'UTC' }]
  return {
    ...(Object.values(limits).every((limit) => limit === null) ? {} : { perFairKey: limits }),
    ...(day.length + budgets.length === 0 ? {} : { fairKeyBudgets: [...day, ...budgets] }),
  }
}

/** The names of the configured tenants, including the one of an open service. */
export function tenantNames(config: Config): string[] {
  const names = Object.keys(config.tenants)
  return names.length > 0 ? names : [openTenant(config).name]
}

function budgetRulesOf({ budgets, webhooks }: Config): Tenant['budgetRules'] {
  return { unknownPrice: budgets.unknown_price, operationsUrl: webhooks.operations_url ?? null }
}

function openTenant(config: Config): Tenant {
  return {
    name: 'default',
    scopes: ['admin'],
    key: null,
    weight: 1,
    budgetRules: budgetRulesOf(config),
    ...(config.cache.mode === 'off' ? { cache: 'off' as const } : {}),
    limits: { max_queued: config.jobs.max_queued },
  }
}

/**
 * Creates a keyring, which holds only digests. The lookup of a configured key compares with every one in constant time, so its duration
 * reveals nothing. Keys of the API are looked up by their digest: they are random, so the duration reveals nothing useful.
 *
 * @param made keys that were created by the API; those of unknown tenants are ignored
 * @param now Unix ms, by Redis' clock
 */
export function createKeyring(
  config: Config,
  made: readonly RunTimeKey[] = [],
  now: () => number = () => 0,
): Keyring {
  const tenants = Object.entries(config.tenants)
  if (tenants.length === 0) {
    const tenant = openTenant(config)
    return {
      open: true,
      find: () => tenant,
      isConfigured: () => true,
      named: (name) => resolveTenant(config, name),
      expires: false,
    }
  }
  const entries = tenants.flatMap(([name, { keys }]) => {
    const tenant = resolveTenant(config, name)!
    return keys.map((key) => ({ digest: digestConfiguredKey(key), tenant }))
  })
  const byDigest = new Map<string, { tenant: Tenant; expiresAt: number | null }>()
  for (const { id, tenant: name, digest, scopes, models, budgets, expiresAt } of made) {
    const tenant = resolveTenant(config, name)
    if (tenant === null) continue
    const terms: KeyTerms = {
      ...(models === null ? {} : { models: [models] }),
      ...(budgets?.length ? { payers: [{ key: id, budgets }] } : {}),
    }
    byDigest.set(digest, {
      tenant: { ...underTerms(tenant, terms), scopes, key: id },
      expiresAt,
    })
  }

  function findConfigured(digest: Buffer): Tenant | null {
    let found: Tenant | null = null
    for (const entry of entries) {
      if (timingSafeEqual(entry.digest, digest)) found = entry.tenant
    }
    return found
  }

  return {
    open: false,
    named: (name) => resolveTenant(config, name),
    isConfigured: (key) => findConfigured(digestKey(key)) !== null,
    expires: made.some(({ expiresAt }) => expiresAt !== null),
    find(key) {
      const digest = digestKey(key)
      const configured = findConfigured(digest)
      if (configured !== null) return configured
      const known = byDigest.get(digest.toString('hex'))
      if (known === undefined || (known.expiresAt !== null && known.expiresAt <= now())) return null
      return known.tenant
    },
  }
}
