import type { Logger } from 'pino'
import { ConfigError } from '../config/load.ts'
import { type Durability, NotDurableError } from '../jobs/durability.ts'

/** A Redis that would lose acknowledged writes is a configuration error. An unavailable Redis may come back. */
export async function requireDurable(durability: Durability, log: Logger): Promise<void> {
  try {
    if ((await durability.check()) === 'unknown') {
      log.warn('redis.durable: Redis does not let this user look whether appendfsync is always (CONFIG GET)')
    }
  } catch (error) {
    if (error instanceof NotDurableError) throw new ConfigError([`redis.durable: ${error.message}`])
    log.warn({ err: error }, 'looking whether Redis is durable failed')
  }
}

/** Wraps a store so that its methods resolve only when their writes are on disk. */
export function confirmed<Store extends object>(
  store: Store,
  methods: (keyof Store)[],
  durability: Durability | null,
): Store {
  if (!durability) return store
  const wrapped = { ...store }
  for (const name of methods) {
    const method = store[name] as (...args: unknown[]) => Promise<unknown>
    const confirming = async (...args: unknown[]) => {
      const answer = await method(...args)
      await durability.confirm()
      return answer
    }
    wrapped[name] = confirming as Store[typeof name]
  }
  return wrapped
}
