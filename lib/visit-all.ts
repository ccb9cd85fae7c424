import { isRedisUnavailable } from './redis.ts'

/** Something that a pass over tenants or jobs could not do for one of them, while it went on with the others. */
export type UpkeepFailure = {
  /** What was to be done, as a short label: `webhooks`. */
  task: string
  tenant: string
  /** Of the job, delivery or batch, or the name of the lane; absent where the tenant's own was to be read. */
  id?: string
  error: unknown
}

export type OnUpkeepFailure = (failure: UpkeepFailure) => void

/**
 * Visits every item, `atOnce` at the same time. An item's error goes to `onFailure` and does not affect the others.
 *
 * @param options.endsWithStore true: the first error that says Redis is unavailable ends the pass, because the others would
 *   only wait as long for the same; the next pass finds them
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
