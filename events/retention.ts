import { deltasKey, referencesKey } from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { compareEntries } from './cursor.ts'

/** How long references are kept at the least, ms. Beside it their number bounds them (event-references.lua). */
const KEPT_MS = 24 * 60 * 60 * 1000

/**
 * Forgets references to events of a tenant that are older than a day. The newest stays, by which the cursor of who has seen all
 * is told from one that is expired.
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
