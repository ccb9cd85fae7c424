import type { RedisClient } from '../lib/redis.ts'
import { groupKey, tenantRoot, tenantsKey } from './keys.ts'
import type { Scripts } from './scripts.ts'

/** Names read in one round trip. */
const PAGE = 1000

/**
 * Moves groups whose names end like a part of a group (`nightly:jobs`) to keys of their own. Earlier releases kept such
 * a group at the key that also holds a part of `nightly`. Any number of processes may do this at once. If there is
 * nothing to move, it only reads.
 */
export async function moveGroups(deps: {
  redis: RedisClient
  scripts: Pick<Scripts, 'run'>
  prefix: string
}): Promise<void> {
  for (const tenant of await deps.redis.smembers(tenantsKey(deps.prefix))) {
    await moveGroupsOf(deps, tenantRoot(deps.prefix, tenant))
  }
}

async function moveGroupsOf(
  deps: { redis: RedisClient; scripts: Pick<Scripts, 'run'> },
  root: string,
): Promise<void> {
  for (let from = 0; ; from += PAGE) {
    const page = await deps.redis.zrange(`${root}:groups`, String(from), String(from + PAGE - 1))
    for (const name of page) {
      if (groupKey(root, name) !== `${root}:group:${name}`) await deps.scripts.run('regroup', root, [name])
    }
    if (page.length < PAGE) return
  }
}
