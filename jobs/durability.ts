import { listMasters } from '../lib/masters.ts'
import { isRedisUnavailable, type RedisClient } from '../lib/redis.ts'

/** How long a write may take to reach the disk, ms. It is less than a command may take. */
const DISK_MS = 2000

/** The server cannot promise, or did not confirm in time, that a write is on its disk. */
export class NotDurableError extends Error {
  override readonly name = 'NotDurableError'
}

/**
 * How a process knows that a write is on disk. `always`: the server answers only then. `asked`: the process asks each
 * time (WAITAOF, Redis 7.2). `unknown`: the server does not tell its settings.
 */
export type DurabilityWay = 'always' | 'asked' | 'unknown'

/** Whether acknowledged writes are on disk. */
export type Durability = {
  /**
   * Throws NotDurableError if the server's settings may lose acknowledged writes. Otherwise returns how a write is
   * known to be on disk.
   */
  check(): Promise<DurabilityWay>
  /** Resolves when all earlier writes are on disk. Throws NotDurableError if they are not in time. */
  confirm(): Promise<void>
}

/** @param deps.connection a connection that nothing else uses, because it blocks while it waits for the disk */
export function createDurability(deps: { connection: RedisClient; prefix: string }): Durability {
  const { connection, prefix } = deps
  let way: Promise<DurabilityWay> | null = null
  const ask = shareRounds(async () => {
    // This write comes later in the log than all the others, so if it is on disk, they are.
    await connection.incr(`${prefix}:durable`)
    const [local] = (await connection.call('WAITAOF', '1', '0', String(DISK_MS))) as [number, number]
    if (local < 1) throw new NotDurableError(`the disk of Redis took longer than ${DISK_MS} ms`)
  })

  function check(): Promise<DurabilityWay> {
    way ??= findWay(connection)
    way.catch(() => {
      way = null
    })
    return way
  }

  return {
    check,
    async confirm() {
      if ((await check()) === 'asked') await ask()
    },
  }
}

/**
 * Runs one round at a time. The next round answers callers that ask during this one, because it begins after their
 * writes.
 */
export function shareRounds(round: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | null = null
  return () => {
    next ??= running.then(() => {
      next = null
      const own = round()
      running = own.catch(() => {})
      return own
    })
    return next
  }
}

async function findWay(client: RedisClient): Promise<DurabilityWay> {
  const masters = listMasters(client)
  const ways = await Promise.all(
    masters.map(async (node): Promise<DurabilityWay | 'lost'> => {
      const [appendonly, appendfsync] = await Promise.all([
        readSetting(node, 'appendonly'),
        readSetting(node, 'appendfsync'),
      ])
      if (appendonly === 'no') return 'lost'
      if (appendfsync === 'always') return 'always'
      // A node of a cluster does not know the logs of other nodes.
      if (!client.isCluster && (await knowsWaitAof(node))) return 'asked'
      return appendfsync === null ? 'unknown' : 'lost'
    }),
  )
  const known = ways.filter((one) => one !== 'lost')
  if (known.length < ways.length) {
    throw new NotDurableError(
      'Redis acknowledges what is not on its disk yet; set appendonly yes and appendfsync always there, or use one of 7.2 or later with appendonly yes',
    )
  }
  return known.find((one) => one !== 'always') ?? 'always'
}

type Caller = { call(command: string, ...args: string[]): Promise<unknown> }

/** Null if this user may not ask. */
async function readSetting(node: Caller, name: string): Promise<string | null> {
  try {
    const [, value] = (await node.call('CONFIG', 'GET', name)) as string[]
    return value ?? null
  } catch (error) {
    if (isRedisUnavailable(error)) throw error
    return null
  }
}

async function knowsWaitAof(node: Caller): Promise<boolean> {
  try {
    await node.call('WAITAOF', '0', '0', '1')
    return true
  } catch (error) {
    if (isRedisUnavailable(error)) throw error
    return false
  }
}
