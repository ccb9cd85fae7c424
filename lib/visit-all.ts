import { isRedisUnavailable } from './redis.ts'

/** The failure of a pass over tenants or jobs for one of them. The pass continued with the others. */
export type UpkeepFailure = {
  /** A short label of the task: `webhooks`. */
  task: string
  tenant: string
  /** Of the job, delivery or batch, or the name of the lane; absent if it concerns the tenant itself. */
  id?: string
  error: unknown
}

export type OnUpkeepFailure = (failure: UpkeepFailure) => void

/**
 * Visits all items, `atOnce` of them at the same time. An item's error goes to `onFailure` and does not affect the others.
 *
 * @param options.endsWithStore true: the first error that says Redis is unavailable ends the pass, because the others would only wait as
 * long for the same error; the next pass visits the rest
 */
export async function visitAll<Item>(
  items: readonly Item[],
  visit: (item: Item) => Promise<unknown>,
  onFailure: (error: unknown, item: Item) => void,
  { atOnce = 1, endsWithStore = false }: { atOnce?: number; endsWithStore?: boolean } = {},
): Promise<void> {
  let next = 0
  let isOver = false
  async function go(): Promise<void> {
    while (next < items.length && !isOver) {
      const item = items[next++]!
      try {
        await visit(item)
      } catch (error) {
        onFailure(error, item)
        if (endsWithStore && isRedisUnavailable(error)) isOver = true
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, go))
}
