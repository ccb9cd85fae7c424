import { loadScript, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'

/** The worker that is the maintainer. */
export type MaintainerView = {
  /** Of its process, as its host names it. */
  worker: string
  /** Unix ms, by Redis' clock. */
  since: number
}

/**
 * Who of all workers is the maintainer: the holder of one key, which ends by itself. Throws when Redis is away.
 */
export type MaintainerLease = {
  /** Takes or renews it, where nobody else has it. */
  hold(): Promise<{ isOurs: boolean; holder: MaintainerView | null }>
  /** Lets go, so that another worker takes over at its next look. Does nothing where another has it. */
  release(): Promise<void>
}

const script = loadScript(new URL('./lua/hold-maintainer.lua', import.meta.url))

function maintainerRoot(prefix: string): string {
  return `${prefix}:{maintainer}`
}

/**
 * @param deps.worker of this process, among all
 * @param deps.shown what people are told of it
 * @param deps.leaseMs from the latest `hold` to its end
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

/** Who is the maintainer now; null: nobody, for the moment. */
export async function readMaintainer(redis: RedisClient, prefix: string): Promise<MaintainerView | null> {
  const [worker, since] = await redis.hmget(`${maintainerRoot(prefix)}:lease`, 'shown', 'since')
  return worker && since ? { worker, since: Number(since) } : null
}
