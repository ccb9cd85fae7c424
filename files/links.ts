import { createHash, randomBytes } from 'node:crypto'
import type { RedisClient } from '../lib/redis.ts'

/**
 * Public URLs of one file for an hour, as OpenAI returns for images. Keys: `<prefix>:file-link:<digest of the token>`, a string with tenant
 * and file that expires.
 */
export type FileLinks = {
  /** Creates a token that cannot be guessed. */
  create(tenant: string, id: string): Promise<string>
  /** Null: the token is unknown or expired. */
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
