import type { Redis } from 'ioredis'
import type { RedisClient } from './redis.ts'

/** The servers that take writes: the one, or the masters of a cluster as they are known now. */
export function listMasters(client: RedisClient): Redis[] {
  return 'nodes' in client ? client.nodes('master') : [client]
}
