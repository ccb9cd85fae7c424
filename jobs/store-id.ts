import { randomUUID } from 'node:crypto'
import type { RedisClient } from '../lib/redis.ts'

/**
 * What tells this store from any other, wherever it moves and by whatever address it is reached: made once, by whoever asks
 * first. What a process keeps outside of the store is for the store of that id alone.
 */
export async function readStoreId(redis: RedisClient, prefix: string): Promise<string> {
  const key = `${prefix}:store`
  const known = await redis.get(key)
  if (known !== null) return known
  await redis.set(key, randomUUID(), 'NX')
  return (await redis.get(key))!
}
