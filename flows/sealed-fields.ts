import type { RedisClient } from '../lib/redis.ts'
import type { SealedField } from '../lib/reseal.ts'
import { walkIndex } from '../lib/walk-index.ts'
import { sealedPlaces } from './keys.ts'

const BLOCK = 100
const OPEN = ['running', 'waiting']

/** Yields the encrypted fields of a tenant's open flows. They may wait for a signal without limit, so a key rotation must reach them. */
export async function* sealedFields(redis: RedisClient, root: string): AsyncGenerator<SealedField[]> {
  for (const status of OPEN) {
    const index = `${root}:flows:status:${status}`
    for await (const entries of walkIndex(redis, index, { order: 'asc', after: null, block: BLOCK })) {
      const fields: SealedField[] = []
      for (const { id } of entries) {
        fields.push({ key: `:flow:${id}`, field: 'definition', place: { root, purpose: 'body', id } })
        for (const step of await redis.hkeys(`${root}:flow:${id}:values`)) {
          const place = { root, purpose: 'result', id, content: sealedPlaces.value(Number(step)) }
          fields.push({ key: `:flow:${id}:values`, field: step, place })
        }
      }
      yield fields
    }
  }
}
