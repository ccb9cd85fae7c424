import { loadScript, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'

/** The worker that is the maintainer. */
export type MaintainerView = {
  /** The name of its process, as operators know it. */
  worker: string
  /** Unix ms, by Redis' clock. */
  since: number
}

/**
 * Decides which worker is the maintainer: the holder of one key, which expires unless it is renewed. Throws if Redis is
 * unavailable.
 */
export type MaintainerLease = {
  /** Takes or renews the lease, unless another worker has it. */
  hold(): Promise<{ isOurs: boolean; holder: MaintainerView | null }>
  /** Gives the lease up, so that another worker takes over at its next look. Does nothing if another worker has it. */
  release(): Promise<void>
}

const script = loadScript(new URL('./lua/hold-maintainer.lua', import.meta.url))

function maintainerRoot(prefix: string): string {
  return `${prefix}:{maintainer}`
}

/**
 * @param deps.worker identifies this process among all
 * @param deps.shown the name that operators see
 * @param deps.leaseMs time from the latest `hold` to the end of the lease, ms
 */
export function createMaintainerLease(deps: {
  redis: RedisClient
  prefix: string
  worker: string
  shown: string
  leaseMs: number
}): MaintainerLease {
  const root = maintainerRoot(deps.prefix)
  async function run(leaseMs: number) {
    const answer = await runScript(deps.redis, script, root, [deps.worker, deps.shown, leaseMs])
    const [isOurs, holder, shown, since] = answer as [number, string, string, string]
    return {
      isOurs: isOurs === 1,
      holder: holder === '' ? null : { worker: shown, since: Number(since) },
    }
  }
  return {
    hold: () => run(deps.leaseMs),
    async release() {
      await run(0)
    },
  }
}

/** The worker that is the maintainer now; null: no worker is, at the moment. */
export async function readMaintainer(redis: RedisClient, prefix: string): Promise<MaintainerView | null> {
  const [worker, since] = await redis.hmget(`${maintainerRoot(prefix)}:lease`, 'shown', 'since')
  return worker && since ? { worker, since: Number(since) } : null
}
