import { randomUUID } from 'node:crypto'
import type { RedisClient } from '../lib/redis.ts'

/**
 * The id of this store. It stays the same if the store moves or its address changes. The first process that asks
 * creates it. Data that a process keeps outside of the store belongs only to the store with this id.
 */
export async function readStoreId(redis: RedisClient, prefix: string): Promise<string> {
  const key = `${prefix}:store`
  const known = await redis.get(key)
  if (known !== null) return known
  await redis.set(key, randomUUID(), 'NX')
  return (await redis.get(key))!
}
