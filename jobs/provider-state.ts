import type { RedisClient } from '../lib/redis.ts'

/** How long an id is known after its last use, ms. Providers keep completions for 30 days. */
const KNOWN_MS = 30 * 24 * 60 * 60 * 1000

/**
 * Which tenant owns what a provider stores: conversations, and completions that were to be stored. Key:
 * `<root>:provider-state:<id>`, a string with the name of the provider. Each use renews its time to live.
 */
export type ProviderState = {
  remember(tenant: string, id: string, provider: string): Promise<void>
  /** The provider that stores it; null: the tenant has nothing with this id. */
  find(tenant: string, id: string): Promise<string | null>
  forget(tenant: string, id: string): Promise<void>
}

/** An id of another form names nothing. */
export function isStateId(id: unknown): id is string {
  return typeof id === 'string' && /^[A-Za-z0-9_-]{1,128}$/.test(id)
}

/** @param deps.root gives the root of a tenant's keys, with the hash tag */
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
