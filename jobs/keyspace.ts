import type { RedisClient } from '../lib/redis.ts'
import type { AtRest } from './at-rest.ts'
import type { Scripts } from './scripts.ts'

/** The keys of tenants, and what reads and writes them. */
export type Keyspace = {
  redis: RedisClient
  scripts: Scripts
  rootOf: (tenant: string) => string
  atRest: AtRest
  /** How long ended jobs are kept, ms. */
  retainMs: () => number
  /** Resolves when all earlier writes are on disk; null: nothing waits for the disk. */
  confirm: (() => Promise<void>) | null
}
