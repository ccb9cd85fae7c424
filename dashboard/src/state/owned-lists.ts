import type { List } from '../wire.ts'

export type Owned<Entry> = { tenant: string; entry: Entry }

/** The beginning of the lists of several tenants in one. */
export type OwnedPage<Entry> = { found: Owned<Entry>[]; hasMore: boolean }

export type Order<Entry> = (one: Entry, other: Entry) => number

/** Entries of a page; every list of the API has pages of so many. */
const PAGE = 100

/**
 * Reads the first entries of a list of each tenant and merges them. None is left out that belongs among the first, where each
 * list comes in this order.
 *
 * @param most how many entries in all
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

/** What is greater comes first: times and numbers. */
export function descending<Entry>(key: (entry: Entry) => string | number): Order<Entry> {
  return (one, other) => {
    const [a, b] = [key(one), key(other)]
    return a < b ? 1 : a > b ? -1 : 0
  }
}
