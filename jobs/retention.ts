import { paced } from '../lib/pace.ts'
import { tenantRoot } from './keys.ts'
import type { Outbox } from './outbox.ts'
import type { Scripts } from './scripts.ts'

/** Jobs forgotten in one script, which holds Redis for a millisecond or two then, and such scripts sent together. */
const BLOCK = 50
const BLOCKS_AT_ONCE = 4

/** Forgets jobs when their retention is over. Any number of processes may do so at once, and share the work. */
export type Retention = {
  /** Goes on until nothing of these tenants is over, or the signal aborts; answers how many jobs were forgotten. */
  run(signal?: AbortSignal): Promise<number>
}

export function createRetention(deps: {
  scripts: Scripts
  outbox: Outbox
  prefix: string
  /** Those whose jobs may be over. */
  tenants: () => Promise<string[]>
  /** A tenant's jobs could not be forgotten; the others' are all the same. */
  onError: (error: unknown, tenant: string) => void
}): Retention {
  const { scripts, outbox, prefix, onError } = deps

  /** Answers how many there were. */
  async function retire(tenant: string, blocks: number): Promise<number> {
    const call = { root: tenantRoot(prefix, tenant), args: [BLOCK] }
    const answers = await scripts.runAll(
      'retire',
      Array.from({ length: blocks }, () => call),
    )
    let total = 0
    for (const [count, ...promoted] of answers as [number, ...Buffer[]][]) {
      total += count
      for (const id of promoted) await outbox.dispatchById(tenant, id.toString())
    }
    return total
  }

  async function orTell(tenant: string, blocks: number): Promise<number> {
    try {
      return await paced(() => retire(tenant, blocks))
    } catch (error) {
      onError(error, tenant)
      return 0
    }
  }

  return {
    async run(signal) {
      let waiting = await deps.tenants()
      let total = 0
      // A block of each tenant, then some more of each that has more: who else wants Redis gets it in between.
      for (let blocks = 1; waiting.length > 0; blocks = BLOCKS_AT_ONCE) {
        const full: string[] = []
        for (const tenant of waiting) {
          if (signal?.aborted) return total
          const count = await orTell(tenant, blocks)
          total += count
          if (count === blocks * BLOCK) full.push(tenant)
        }
        waiting = full
      }
      return total
    },
  }
}
