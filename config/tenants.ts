import { timingSafeEqual } from 'node:crypto'
import { digestConfiguredKey, digestKey } from './key-digest.ts'
import type { Config } from './schema.ts'

/** The tenant that a request is from, with everything resolved. */
export type Tenant = {
  name: string
  admin: boolean
  /** Share of a contended lane, against the weights of the others. */
  weight: number
  /** `off`, by the tenant's settings or those of the installation: no answers are kept or shared. */
  cache?: 'off'
  limits: {
    requests_per_minute?: number
    max_queued: number
    budget_usd_per_day?: number
    /** Without it: `jobs.max_schedules`. */
    max_schedules?: number
  }
}

export type Keyring = {
  /** True: no tenants are configured, and every key, or none, finds the tenant `default`. */
  open: boolean
  /** The tenant of a key as a client sent it; null for a key that no tenant has. */
  find(key: string): Tenant | null
  /** The tenant of this name; null where there is none. */
  named(name: string): Tenant | null
}

/** The tenant of this name, the one of an open service included; null where the configuration has none. */
export function resolveTenant(config: Config, name: string): Tenant | null {
  if (Object.keys(config.tenants).length === 0)
    return name === openTenant(config).name ? openTenant(config) : null
  if (!Object.hasOwn(config.tenants, name)) return null
  const { admin, weight, limits, cache } = config.tenants[name]!
  const isOff = config.cache.mode === 'off' || cache.mode === 'off'
  return {
    name,
    admin,
    weight,
    ...(isOff ? { cache: 'off' as const } : {}),
    limits: { max_queued: config.jobs.max_queued, ...limits },
  }
}

/** Tenants that the configuration names, the one of an open service included. */
export function tenantNames(config: Config): string[] {
  const names = Object.keys(config.tenants)
  return names.length > 0 ? names : [openTenant(config).name]
}

function openTenant(config: Config): Tenant {
  return {
    name: 'default',
    admin: true,
    weight: 1,
    ...(config.cache.mode === 'off' ? { cache: 'off' as const } : {}),
    limits: { max_queued: config.jobs.max_queued },
  }
}

/** Keeps digests only. A look-up compares with every key in constant time, so its length tells nothing. */
export function createKeyring(config: Config): Keyring {
  const tenants = Object.entries(config.tenants)
  if (tenants.length === 0) {
    const tenant = openTenant(config)
    return { open: true, find: () => tenant, named: (name) => resolveTenant(config, name) }
  }
  const entries = tenants.flatMap(([name, { keys }]) => {
    const tenant = resolveTenant(config, name)!
    return keys.map((key) => ({ digest: digestConfiguredKey(key), tenant }))
  })
  return {
    open: false,
    named: (name) => resolveTenant(config, name),
    find(key) {
      const digest = digestKey(key)
      let found: Tenant | null = null
      for (const entry of entries) {
        if (timingSafeEqual(entry.digest, digest)) found = entry.tenant
      }
      return found
    },
  }
}
