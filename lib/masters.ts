import type { Redis } from 'ioredis'
import type { RedisClient } from './redis.ts'

/** The servers that accept writes: the only one, or the currently known masters of a cluster. */
export function listMasters(client: RedisClient): Redis[] {
  return 'nodes' in client ? client.nodes('master') : [client]
}
