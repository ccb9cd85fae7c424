import { listMasters } from '../lib/masters.ts'
import type { RedisClient } from '../lib/redis.ts'

/** The servers are asked this often, ms. */
const LOOK_MS = 1000

/**
 * The store's memory. New work is refused before it is full, so that there is room for the results of the work that was
 * accepted.
 */
export type Memory = {
  /** True when a server, any master of a cluster, uses more of its `maxmemory` than new work may bring it to. */
  isShort(): Promise<boolean>
  /** The share of its `maxmemory` that the fullest server uses; null: none has a limit, or tells of it. */
  used(): Promise<number | null>
}

export function createMemory(deps: {
  redis: RedisClient
  /** Share of `maxmemory` from which on new work is refused. */
  share: number
  now: () => number
}): Memory {
  const { redis, share, now } = deps
  let used: number | null = null
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
      return usedNow !== null && usedNow >= share
    },
  }
}

/** A user that may not ask knows of no shortage. */
function unlessForbidden(error: Error): string {
  if (error.message.startsWith('NOPERM')) return ''
  throw error
}

function readNumber(info: string, name: string): number {
  const line = info.split('\r\n').find((text) => text.startsWith(`${name}:`))
  return Number(line?.slice(name.length + 1) ?? 0)
}
