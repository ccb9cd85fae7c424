import type { RedisClient } from '../lib/redis.ts'

/** How long an id is known after it was used last, ms. Providers keep completions for 30 days. */
const KNOWN_MS = 30 * 24 * 60 * 60 * 1000

/**
 * Whose what is that providers keep: conversations, and completions that were asked to be stored. Key: `<root>:provider-state:<id>`, a
 * string, the name of the provider; its time to live begins again with each use.
 */
export type ProviderState = {
  remember(tenant: string, id: string, provider: string): Promise<void>
  /** The provider that keeps it; null: the tenant has no such thing. */
  find(tenant: string, id: string): Promise<string | null>
  forget(tenant: string, id: string): Promise<void>
}

/** Ids of other forms name nothing. */
export function isStateId(id: unknown): id is string {
  return typeof id === 'string' && /^[A-Za-z0-9_-]{1,128}$/.test(id)
}

/** @param deps.root names a tenant's root key, hash tag included */
export function createProviderState(deps: {
  redis: RedisClient
  root: (tenant: string) => string
}): ProviderState {
  const { redis } = deps
  const keyOf = (tenant: string, id: string) => `${deps.root(tenant)}:provider-state:${id}`
  return {
    async remember(tenant, id, provider) {
      if (isStateId(id)) await redis.set(keyOf(tenant, id), provider, 'PX', KNOWN_MS)
    },
    async find(tenant, id) {
      if (!isStateId(id)) return null
      const provider = await redis.get(keyOf(tenant, id))
      if (provider !== null) await redis.pexpire(keyOf(tenant, id), KNOWN_MS)
      return provider
    },
    async forget(tenant, id) {
      if (isStateId(id)) await redis.del(keyOf(tenant, id))
    },
  }
}
