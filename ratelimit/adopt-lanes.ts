import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'
import { bucketKeys, laneRoot } from './addresses.ts'

/** For how long workers of an earlier release take nothing from a lane that was taken over, ms. By then they are replaced. */
const MOVED_MS = 3_600_000

type Command = (...args: (string | number | Buffer)[]) => Promise<unknown>
type Departed = [bucket: Buffer, permits: Buffer[], records: Buffer[], window: Buffer[], day: Buffer[]]

/**
 * Takes over the state that earlier releases kept of a lane under keys of another slot: its pauses, its permits, and the amounts in its
 * windows. Each process looks once for each lane, at its first use.
 */
export type LaneAdoption = {
  /** Null if this process has looked at the lane before. */
  adopt(lane: string): Promise<void> | null
  forget(lane: string): void
}

export function createLaneAdoption({
  redis,
  prefix,
}: {
  redis: Redis | Cluster
  prefix: string
}): LaneAdoption {
  const define = (name: string): Command => {
    const lua = readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
    redis.defineCommand(`sluiceGate:${name}`, { lua, numberOfKeys: 6 })
    const commands = redis as unknown as Record<string, Command>
    return (...args) => commands[`sluiceGate:${name}Buffer`]!(...args)
  }
  const depart = define('depart')
  const write = define('adopt')
  const seen = new Set<string>()
  const pending = new Map<string, Promise<void>>()

  async function takeOver(lane: string): Promise<void> {
    const from = `${prefix}:{l:${lane}}:`
    const to = laneRoot(prefix, lane)
    const old = [...bucketKeys(from), `${from}:`]
    const departed = (await depart(...old, '')) as Departed | null
    if (departed !== null) {
      const [bucket, ...parts] = departed
      const values = parts.flatMap((part) => [part.length, ...part])
      await write(...bucketKeys(to), `${to}:`, bucket, ...values)
      await depart(...old, MOVED_MS)
    }
    seen.add(lane)
  }

  return {
    adopt(lane) {
      if (seen.has(lane)) return null
      let adopting = pending.get(lane)
      if (adopting === undefined) {
        adopting = takeOver(lane).finally(() => pending.delete(lane))
        pending.set(lane, adopting)
      }
      return adopting
    },
    forget(lane) {
      seen.delete(lane)
    },
  }
}
