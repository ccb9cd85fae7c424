import type { RedisClient } from '../lib/redis.ts'
import type { SealedField } from '../lib/reseal.ts'
import { walkIndex } from '../lib/walk-index.ts'
import { signalPlace } from './keys.ts'

const BLOCK = 100

/** Yields the encrypted fields of a tenant's durable runs. Runs may last without limit, so a key rotation must reach them. */
export async function* sealedFields(redis: RedisClient, root: string): AsyncGenerator<SealedField[]> {
  const index = `${root}:durables`
  for await (const entries of walkIndex(redis, index, { order: 'asc', after: null, block: BLOCK })) {
    const fields: SealedField[] = []
    for (const { id: digest } of entries) {
      const key = `:durable:${digest}`
      const [id, steps] = await Promise.all([
        redis.hget(root + key, 'id'),
        redis.hkeys(`${root + key}:values`),
      ])
      if (id === null) continue
      for (const step of steps)
        fields.push({ key: `${key}:values`, field: step, place: signalPlace(root, id, step) })
    }
    yield fields
  }
}
