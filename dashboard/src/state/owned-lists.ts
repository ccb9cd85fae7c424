import type { List } from '../wire.ts'

export type Owned<Entry> = { tenant: string; entry: Entry }

/** The first entries of the lists of several tenants, merged. */
export type OwnedPage<Entry> = { found: Owned<Entry>[]; hasMore: boolean }

export type Order<Entry> = (one: Entry, other: Entry) => number

/** Entries of a page; every list of the API allows pages of this size. */
const PAGE = 100

/**
 * Reads the first entries of each tenant's list and merges them. The result has exactly the first entries of all, provided that
 * each list comes in this order.
 *
 * @param most the most entries in all
 */
export async function readOwned<Entry>(asked: {
  tenants: readonly string[]
  most: number
  order: Order<Entry>
  readPage: (tenant: string, page: { limit: number; after: string | null }) => Promise<List<Entry>>
}): Promise<OwnedPage<Entry>> {
  const { tenants, most, order, readPage } = asked
  const lists = await Promise.all(
    tenants.map(async (tenant) => {
      const entries: Owned<Entry>[] = []
      let after: string | null = null
      let hasMore = true
      while (hasMore && entries.length < most) {
        const page: List<Entry> = await readPage(tenant, {
          limit: Math.min(PAGE, most - entries.length),
          after,
        })
        // A list that takes no cursor answers the same page again, without end.
        if (after !== null && page.last_id === after) break
        entries.push(...page.data.map((entry) => ({ tenant, entry })))
        after = page.last_id
        hasMore = page.has_more && after !== null
      }
      return { entries, hasMore }
    }),
  )
  const all = lists.flatMap(({ entries }) => entries).sort((one, other) => order(one.entry, other.entry))
  return {
    found: all.slice(0, most),
    hasMore: all.length > most || lists.some(({ hasMore }) => hasMore),
  }
}

/** Orders by a time or a number, the greatest first. */
export function descending<Entry>(key: (entry: Entry) => string | number): Order<Entry> {
  return (one, other) => {
    const [a, b] = [key(one), key(other)]
    return a < b ? 1 : a > b ? -1 : 0
  }
}
