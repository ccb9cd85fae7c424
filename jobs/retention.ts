import { paced } from '../lib/pace.ts'
import { tenantRoot } from './keys.ts'
import type { Outbox } from './outbox.ts'
import type { Scripts } from './scripts.ts'

/**
 * BLOCK: jobs that one script deletes, which holds Redis for a millisecond or two. BLOCKS_AT_ONCE: scripts that are
 * sent together.
 */
const BLOCK = 50
const BLOCKS_AT_ONCE = 4

/** Deletes jobs whose retention is over. Any number of processes may do so at once, and share the work. */
export type Retention = {
  /**
   * Continues until no retention of these tenants is over, or the signal aborts. Returns how many jobs were deleted.
   */
  run(signal?: AbortSignal): Promise<number>
}

export function createRetention(deps: {
  scripts: Scripts
  outbox: Outbox
  prefix: string
  /** The tenants that may have jobs whose retention is over. */
  tenants: () => Promise<string[]>
  /** The jobs of this tenant could not be deleted. Those of others are deleted all the same. */
  onError: (error: unknown, tenant: string) => void
}): Retention {
  const { scripts, outbox, prefix, onError } = deps

  /** Deletes up to this many blocks. Returns how many jobs were deleted. */
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

  async function retireOrReport(tenant: string, blocks: number): Promise<number> {
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
      // First one block of each tenant, then several of each that has more, so that other clients of Redis get their
      // turn in between.
      for (let blocks = 1; waiting.length > 0; blocks = BLOCKS_AT_ONCE) {
        const full: string[] = []
        for (const tenant of waiting) {
          if (signal?.aborted) return total
          const count = await retireOrReport(tenant, blocks)
          total += count
          if (count === blocks * BLOCK) full.push(tenant)
        }
        waiting = full
      }
      return total
    },
  }
}
