import { listMasters } from '../lib/masters.ts'
import type { RedisClient } from '../lib/redis.ts'
import { UnfitRedisError } from '../lib/redis-fault.ts'

/** The servers are asked this often, ms. */
const LOOK_MS = 1000

/**
 * The store's memory. New work is refused before the memory is full, so that there is room for the results of accepted
 * work.
 */
export type MemoryAdmission = {
  /**
   * True if a server, which is any master of a cluster, uses more of its `maxmemory` than new work may fill. Throws
   * UnfitRedisError if a server may evict keys, because then stored data could disappear too early.
   */
  isShort(): Promise<boolean>
  /** The share of its `maxmemory` that the fullest server uses; null: no server has a limit, or none tells it. */
  used(): Promise<number | null>
}

export function createMemoryAdmission(deps: {
  redis: RedisClient
  /** New work is refused from this share of `maxmemory` on. */
  share: number
  now: () => number
}): MemoryAdmission {
  const { redis, share, now } = deps
  let used: number | null = null
  let policy: string | null = null
  let lookedAt = Number.NEGATIVE_INFINITY
  let looking: Promise<void> | null = null

  async function look(): Promise<void> {
    const infos = await Promise.all(
      listMasters(redis).map((node) => node.info('memory').catch(unlessForbidden)),
    )
    const shares = infos.flatMap((info) => {
      const most = readNumber(info, 'maxmemory')
      return most > 0 ? [readNumber(info, 'used_memory') / most] : []
    })
    used = shares.length > 0 ? Math.max(...shares) : null
    const policies = infos.map((info) => readText(info, 'maxmemory_policy'))
    policy = policies.find((one) => one !== undefined && one !== 'noeviction') ?? null
    lookedAt = now()
  }

  async function readUsed(): Promise<number | null> {
    if (now() - lookedAt >= LOOK_MS) {
      looking ??= look().finally(() => {
        looking = null
      })
      await looking
    }
    return used
  }

  return {
    used: readUsed,
    async isShort() {
      const usedNow = await readUsed()
      if (policy !== null) {
        throw new UnfitRedisError(
          `Redis evicts keys when its memory is full (maxmemory-policy is ${policy}), and accepted jobs with them. ` +
            'No new work is taken until it is noeviction',
        )
      }
      return usedNow !== null && usedNow >= share
    },
  }
}

/** If this user may not ask, nothing is known about a shortage. */
function unlessForbidden(error: Error): string {
  if (error.message.startsWith('NOPERM')) return ''
  throw error
}

function readNumber(info: string, name: string): number {
  return Number(readText(info, name) ?? 0)
}

function readText(info: string, name: string): string | undefined {
  const line = info.split('\r\n').find((text) => text.startsWith(`${name}:`))
  return line?.slice(name.length + 1)
}
