import { createHash, randomBytes } from 'node:crypto'
import type { RedisClient } from '../lib/redis.ts'

/**
 * Addresses under which anybody may read one file for an hour, as OpenAI gives for pictures. Keys: `<prefix>:file-link:<digest of the
 * token>`, a string of tenant and file with a time to live.
 */
export type FileLinks = {
  /** A token that nobody can guess. */
  create(tenant: string, id: string): Promise<string>
  /** Null: it was never made, or its hour is over. */
  find(token: string): Promise<{ tenant: string; id: string } | null>
}

const LINK_TTL_MS = 60 * 60 * 1000
const TOKEN_BYTES = 24

export function createFileLinks({ redis, prefix }: { redis: RedisClient; prefix: string }): FileLinks {
  const keyOf = (token: string) => `${prefix}:file-link:${createHash('sha256').update(token).digest('hex')}`
  return {
    async create(tenant, id) {
      const token = randomBytes(TOKEN_BYTES).toString('base64url')
      await redis.set(keyOf(token), `${id} ${tenant}`, 'PX', LINK_TTL_MS)
      return token
    },
    async find(token) {
      const found = await redis.get(keyOf(token))
      if (found === null) return null
      const space = found.indexOf(' ')
      return { id: found.slice(0, space), tenant: found.slice(space + 1) }
    },
  }
}
