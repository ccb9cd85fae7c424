import { deltasKey, referencesKey } from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { compareEntries } from './cursor.ts'

/** How long references are kept, ms. Their number bounds them as well (event-references.lua). */
const KEPT_MS = 24 * 60 * 60 * 1000

/**
 * Deletes references to events of a tenant that are older than a day. The newest one stays, because it tells the cursor of a reader
 * that has seen everything from an expired cursor.
 *
 * @param now Unix ms, by Redis' clock
 */
export async function trimReferences(
  { redis, now }: { redis: RedisClient; now: () => number },
  root: string,
): Promise<void> {
  const until = `${now() - KEPT_MS}-0`
  for (const key of [referencesKey(root), deltasKey(root)]) {
    const [newest] = await redis.xrevrange(key, '+', '-', 'COUNT', 1)
    if (newest === undefined) continue
    await redis.xtrim(key, 'MINID', compareEntries(newest[0], until) < 0 ? newest[0] : until)
  }
}
