import type { RedisClient } from './redis.ts'

/**
 * Finds where a list continues after an entry that is no longer in its index. Ids begin with their time, so an index by creation time has
 * them in order, except those that several processes created within a moment. A binary search takes some twenty reads for a million
 * entries.
 *
 * @param index sorted set of ids by creation time
 * @returns the score of the next entry with a higher id; null: there is none, all entries of the index are older
 */
export async function findLostPlace(redis: RedisClient, index: string, id: string): Promise<string | null> {
  let low = 0
  let high = await redis.zcard(index)
  // Finds the first rank whose id is lower.
  while (low < high) {
    const middle = (low + high) >>> 1
    const [found] = await redis.zrevrange(index, middle, middle)
    if (found === undefined || found < id) high = middle
    else low = middle + 1
  }
  if (low === 0) return null
  const [, score] = await redis.zrevrange(index, low - 1, low - 1, 'WITHSCORES')
  return score ?? null
}
