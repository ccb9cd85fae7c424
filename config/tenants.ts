import { timingSafeEqual } from 'node:crypto'
import type { Budget } from './budget-windows.ts'
import { digestConfiguredKey, digestKey } from './key-digest.ts'
import { type KeyTerms, underTerms } from './key-terms.ts'
import type { Config } from './schema.ts'
import { defaultScopes, type Scope } from './scopes.ts'

/** The tenant that a request is from, with everything resolved. */
export type Tenant = KeyTerms & {
  name: string
  /** Of the key that was sent; of all keys of the tenant where it is asked for by its name. */
  scopes: readonly Scope[]
  /** It reads what all tenants have, and changes nothing. */
  readsAll?: true
  /** The id of the key that was sent. Null: it is of the configuration, or none was sent. */
  key: string | null
  /** The tenant's share of a busy lane, relative to the weights of the others. */
  weight: number
  /** What each fair key may have; without it they have no limits. */
  perFairKey?: FairKeyLimits
  /** Of each fair key. */
  fairKeyBudgets?: readonly Budget[]
  /** Settings of all budgets. */
  budgetRules: { unknownPrice: 'allow' | 'refuse'; operationsUrl: string | null }
  /** `off`, by the tenant's settings or those of the installation: no answers are kept or shared. */
  cache?: 'off'
  limits: {
    requests_per_minute?: number
    max_queued: number
    budget_usd_per_day?: number
    budgets?: readonly Budget[]
    /** Without it: `jobs.max_schedules`. */
    max_schedules?: number
  }
}

/** Null: no limit. */
export type FairKeyLimits = {
  maxRunning: number | null
  maxQueued: number | null
  requestsPerMinute: number | null
}

/** A key that was made by the API. */
export type RunTimeKey = {
  id: string
  tenant: string
  /** What it is for; without it not known. */
  name?: string | null
  /** SHA-256 of the secret, hex. */
  digest: string
  scopes: readonly Scope[]
  models: readonly string[] | null
  /** Without it none. */
  budgets?: readonly Budget[]
  /** Unix ms; null: never. */
  expiresAt: number | null
}

export type Keyring = {
  /** True: no tenants are configured, and every key, or none, finds the tenant `default`. */
  open: boolean
  /** The tenant of a key as a client sent it; null for a key that no tenant has, or that has expired. */
  find(key: string): Tenant | null
  /** Whether the configuration itself has this key. */
  isConfigured(key: string): boolean
  /** The tenant of this name; null where there is none. */
  named(name: string): Tenant | null
  /** A key may be valid now and not later, without a change of the keyring. */
  expires: boolean
}

/** The tenant of this name, the one of an open service included; null where the configuration has none. */
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

/** What each fair key may have, and may spend; without limits nothing has to count its jobs. */
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

/** Tenants that the configuration names, the one of an open service included. */
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
 * Keeps digests only. A look-up of a configured key compares with every one in constant time, so its length tells nothing. Keys of
 * the API are looked up by their digest: they are random, so nothing is learned from how long it takes.
 *
 * @param made keys that were made by the API; those of tenants that are not configured are left out
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
