import type { RedisClient } from '../lib/redis.ts'
import type { SealedField } from '../lib/reseal.ts'

const BLOCK = 500

/** Yields the encrypted fields of a tenant's schedules. Schedules have no end, so a key rotation must reach them. */
export async function* sealedFields(redis: RedisClient, root: string): AsyncGenerator<SealedField[]> {
  let from = '-'
  for (;;) {
    const ids = await redis.zrangebylex(`${root}:schedules`, from, '+', 'LIMIT', 0, BLOCK)
    if (ids.length === 0) return
    yield ids.map((id) => ({
      key: `:schedule:${id}`,
      field: 'create',
      place: { root, purpose: 'schedule', id },
    }))
    from = `(${ids.at(-1)}`
  }
}
