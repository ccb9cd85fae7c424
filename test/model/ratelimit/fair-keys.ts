// The model of turns inside one tenant and band: `tag_inside` of ratelimit/lua/tag.lua, and `choose` of jobs/lua/queue-fetch.lua.

type Entry = { id: string; key: string; seconds: number }
type Waiting = Entry & { tag: number }

export type FairTenant = {
  add(entries: readonly Entry[]): void
  /** The key whose entry has the tenant's next turn; undefined: none waits. */
  take(): string | undefined
}

export function createFairTenant(): FairTenant {
  let served = 0
  let ends = new Map<string, number>()
  let waiting: Waiting[] = []
  const inOrder = (a: Waiting, b: Waiting) => a.tag - b.tag || (a.id < b.id ? -1 : 1)
  return {
    add(entries) {
      // The lane is idle: its count starts over.
      if (waiting.length === 0) {
        ends = new Map()
        served = 0
      }
      const v = Math.max(served, waiting[0]?.tag ?? 0)
      for (const entry of entries) {
        const tag = Math.max(v, ends.get(entry.key) ?? 0)
        ends.set(entry.key, tag + entry.seconds)
        waiting.push({ ...entry, tag })
      }
      waiting = waiting.toSorted(inOrder)
    },
    take() {
      const next = waiting.shift()
      if (next) served = next.tag
      return next?.key
    },
  }
}
