import { type LuaScript, loadScript, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'

/** Entries that one script adds: no call of it holds Redis for more than a millisecond or so. */
const MOST_ADDED = 100

/** An entry about to be added; `data` is what BullMQ stores with it. */
export type NewEntry = {
  id: string
  tenant: string
  data: object
  priority: number
  notBefore: number | null
}

/** An entry that was fetched, and the token of its lock. */
export type FetchedEntry<Data> = { id: string; tenant: string; data: Data; priority: number; token: string }

/**
 * The scripts for many entries of a lane's queue at a time, which BullMQ has for one only; `queue` is the root of its keys.
 * What they write is as BullMQ would have it, so that its other scripts (a delay, a return, a removal, the check for locks that ended)
 * find it. All may be sent twice: an entry that is there stays, one that is gone is passed over, and what a lost answer had
 * fetched comes again when its locks end.
 */
export type QueueScripts = {
  /** @param eventsKept see `EVENTS_KEPT` */
  add(queue: string, entries: readonly NewEntry[], eventsKept: number): Promise<void>
  /** @param token of this fetch: no other one has it */
  fetch<Data>(
    queue: string,
    options: { count: number; token: string; lockMs: number },
  ): Promise<FetchedEntry<Data>[]>
  release(queue: string, locks: readonly { id: string; token: string }[]): Promise<void>
  /** Takes an entry out that waits; null where there is none, or somebody has fetched it. */
  remove<Data>(queue: string, id: string): Promise<{ tenant: string; data: Data } | null>
}

const script = (name: string) => loadScript(new URL(`./lua/${name}.lua`, import.meta.url))
const addScript = script('queue-add')
const fetchScript = script('queue-fetch')
const releaseScript = script('queue-release')
const removeScript = script('queue-remove')

export function createQueueScripts(redis: RedisClient): QueueScripts {
  const run = (script: LuaScript, queue: string, args: (string | number)[]) =>
    runScript(redis, script, queue, args)
  return {
    async add(queue, entries, eventsKept) {
      const calls: Promise<unknown>[] = []
      for (let from = 0; from < entries.length; from += MOST_ADDED) {
        const args = entries
          .slice(from, from + MOST_ADDED)
          .flatMap(({ id, tenant, data, priority, notBefore }) => [
            id,
            tenant,
            JSON.stringify(data),
            priority,
            notBefore === null ? '' : Math.max(1, Math.round(notBefore)),
          ])
        calls.push(run(addScript, queue, [eventsKept, ...args]))
      }
      await Promise.all(calls)
    },

    async fetch<Data>(
      queue: string,
      { count, token, lockMs }: { count: number; token: string; lockMs: number },
    ) {
      const answer = (await run(fetchScript, queue, [count, `${token}:`, lockMs])) as string[]
      const fetched: FetchedEntry<Data>[] = []
      for (let at = 0; at < answer.length; at += 5) {
        const [id, tenant, data, priority, place] = answer.slice(at, at + 5) as [
          string,
          string,
          string,
          string,
          string,
        ]
        fetched.push({
          id,
          tenant,
          data: JSON.parse(data),
          priority: Number(priority),
          token: `${token}:${place}`,
        })
      }
      return fetched
    },

    async release(queue, locks) {
      await run(
        releaseScript,
        queue,
        locks.flatMap(({ id, token }) => [id, token]),
      )
    },

    async remove<Data>(queue: string, id: string) {
      const [tenant, data] = (await run(removeScript, queue, [id])) as string[]
      return tenant === undefined ? null : { tenant, data: JSON.parse(data!) as Data }
    },
  }
}
