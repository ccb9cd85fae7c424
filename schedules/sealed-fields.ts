import type { RedisClient } from '../lib/redis.ts'
import type { SealedField } from '../lib/reseal.ts'

const BLOCK = 500

/** What is encrypted of a tenant's schedules, which have no end. */
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
