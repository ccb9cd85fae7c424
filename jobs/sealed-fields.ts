import type { RedisClient } from '../lib/redis.ts'
import type { SealedField } from '../lib/reseal.ts'
import { walkIndex } from '../lib/walk-index.ts'

const BLOCK = 250
const OPEN = ['scheduled', 'queued', 'running']

/**
 * The encrypted fields that a tenant's open jobs still need. They may be needed for any time, because nothing bounds
 * how long a job stays open.
 */
export async function* sealedFields(redis: RedisClient, root: string): AsyncGenerator<SealedField[]> {
  for (const status of OPEN) {
    const index = `${root}:status:${status}`
    for await (const entries of walkIndex(redis, index, { order: 'asc', after: null, block: BLOCK })) {
      yield entries.flatMap(({ id }) => [
        { key: `:job:${id}`, field: 'body', place: { root, purpose: 'body', id } },
        { key: `:job:${id}`, field: 'fair_key', place: { root, purpose: 'fair key', id }, isText: true },
      ])
    }
  }
}
