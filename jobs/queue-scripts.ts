import { type LuaScript, loadScript, loadScripts, runScript } from '../lib/lua-script.ts'
import type { RedisClient } from '../lib/redis.ts'

/** Most entries that one script adds, so that it holds Redis for about a millisecond at most. */
const MOST_ADDED = 100

/** An entry to be added. `data` is what BullMQ stores with it. */
export type NewEntry = {
  id: string
  tenant: string
  data: object
  priority: number
  notBefore: number | null
  /** `<band>:<tag>`: its place among the tenant's entries; '' if turns do not rotate among fair keys. */
  turn: string
}

/** An entry that was fetched, and the token of its lock. */
export type FetchedEntry<Data> = { id: string; tenant: string; data: Data; priority: number; token: string }

/**
 * Scripts for many entries of a lane's queue at once, which BullMQ has for single entries only. `queue` is the root of
 * its keys. They write BullMQ's own format, so that its other scripts (delay, return, removal, the check for ended
 * locks) work on the entries. All may be sent twice: an entry that exists stays, and one that is missing is skipped. If
 * the answer to a fetch is lost, its entries come again when their locks end.
 */
export type QueueScripts = {
  /** @param eventsKept see `EVENTS_KEPT` */
  add(queue: string, entries: readonly NewEntry[], eventsKept: number): Promise<void>
  /** @param token unique to this fetch */
  fetch<Data>(
    queue: string,
    options: { count: number; token: string; lockMs: number },
  ): Promise<FetchedEntry<Data>[]>
  release(queue: string, locks: readonly { id: string; token: string }[]): Promise<void>
  /** Removes waiting entries. Returns those that were there and that no worker had fetched. */
  remove<Data>(queue: string, ids: readonly string[]): Promise<{ tenant: string; data: Data }[]>
}

/** Reads a script that knows the turns of fair keys. */
export function loadTurnsScript(file: URL): LuaScript {
  return loadScripts([new URL('./lua/turns.lua', import.meta.url), file])
}

const script = (name: string) => loadScript(new URL(`./lua/${name}.lua`, import.meta.url))
const turnsScript = (name: string) => loadTurnsScript(new URL(`./lua/${name}.lua`, import.meta.url))
const addScript = turnsScript('queue-add')
const fetchScript = turnsScript('queue-fetch')
const releaseScript = script('queue-release')
const removeScript = turnsScript('queue-remove')

export function createQueueScripts(redis: RedisClient): QueueScripts {
  const run = (script: LuaScript, queue: string, args: (string | number)[]) =>
    runScript(redis, script, queue, args)
  return {
    async add(queue, entries, eventsKept) {
      const calls: Promise<unknown>[] = []
      for (let from = 0; from < entries.length; from += MOST_ADDED) {
        const args = entries
          .slice(from, from + MOST_ADDED)
          .flatMap(({ id, tenant, data, priority, notBefore, turn }) => [
            id,
            tenant,
            JSON.stringify(data),
            priority,
            notBefore === null ? '' : Math.max(1, Math.round(notBefore)),
            turn,
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

    async remove<Data>(queue: string, ids: readonly string[]) {
      const answer = (await run(removeScript, queue, [...ids])) as string[]
      const removed: { tenant: string; data: Data }[] = []
      for (let at = 0; at < answer.length; at += 2)
        removed.push({ tenant: answer[at]!, data: JSON.parse(answer[at + 1]!) as Data })
      return removed
    },
  }
}
