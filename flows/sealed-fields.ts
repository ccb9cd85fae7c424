import type { RedisClient } from '../lib/redis.ts'
import type { SealedField } from '../lib/reseal.ts'
import { walkIndex } from '../lib/walk-index.ts'
import { sealedPlaces } from './keys.ts'

const BLOCK = 100
const OPEN = ['running', 'waiting']

/** What is encrypted of a tenant's open flows, which may wait for a signal for as long as they like. */
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
