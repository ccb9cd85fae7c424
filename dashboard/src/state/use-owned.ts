import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import type { List } from '../wire.ts'
import { useApp } from './app.ts'
import { type Order, type Owned, readOwned } from './owned-lists.ts'
import { toQuery } from './query.ts'

/** How many entries are shown at first, and how many more with each press of the button. */
const STEP = 50

/** The lists of several tenants, merged. */
export type OwnedRead<Entry> = {
  /** In order; null until the first answer. */
  found: Owned<Entry>[] | null
  hasMore: boolean
  /** Shows more entries. */
  showMore: () => void
  failure: string | null
  /** Reads the lists again at once. */
  reload: () => void
}

/**
 * Reads the first entries of each tenant's list, and repeats this while the page is visible. After a failure the earlier entries
 * stay.
 *
 * @param asked.path a path of the API; null: reads nothing
 * @param asked.query query parameters, besides those for paging
 * @param asked.tenant the only tenant to read; '': all tenants of the overview
 * @param asked.order the order in which the API returns each list
 * @param asked.isWhole true if the list has no pages
 */
export function useOwned<Entry>(asked: {
  path: string | null
  query?: Record<string, string>
  tenant: string
  everyMs: number
  order: Order<Entry>
  isWhole?: boolean
}): OwnedRead<Entry> {
  const { path, query = {}, tenant, everyMs, order, isWhole = false } = asked
  const { api, feed } = useApp()
  const names = tenant === '' ? (feed.overview.value?.tenants ?? []).map(({ id }) => id).join('\n') : tenant
  const [page, setPage] = useState<{ found: Owned<Entry>[] | null; hasMore: boolean }>({
    found: null,
    hasMore: false,
  })
  const [failure, setFailure] = useState<string | null>(null)
  const [turn, setTurn] = useState(0)
  const [most, setMost] = useState(STEP)
  const filter = toQuery(query)

  useEffect(() => {
    if (names === '' || path === null) return
    const leaving = new AbortController()
    const { signal } = leaving
    let timer: ReturnType<typeof setTimeout> | undefined
    const read = async () => {
      try {
        if (!document.hidden) {
          const next = await readOwned<Entry>({
            tenants: names.split('\n'),
            most: isWhole ? Number.POSITIVE_INFINITY : most,
            order,
            readPage: (tenant, { limit, after }) => {
              const pages = isWhole ? {} : { limit: String(limit), after: after ?? '' }
              return api.json<List<Entry>>(`${path}${toQuery({ ...query, ...pages })}`, { tenant, signal })
            },
          })
          if (signal.aborted) return
          setPage(next)
          setFailure(null)
        }
      } catch (error) {
        if (signal.aborted) return
        setFailure(explain(error))
      }
      if (!signal.aborted) timer = setTimeout(read, everyMs)
    }
    read()
    return () => {
      leaving.abort()
      clearTimeout(timer)
    }
  }, [path, filter, names, most, turn])

  return { ...page, failure, reload: () => setTurn(turn + 1), showMore: () => setMost(most + STEP) }
}
