import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import type { List } from '../wire.ts'
import { useApp } from './app.ts'
import { type Order, type Owned, readOwned } from './owned-lists.ts'
import { toQuery } from './query.ts'

/** Entries at first, and with each press of the button. */
const STEP = 50

/** Lists of several tenants in one. */
export type OwnedRead<Entry> = {
  /** In order; null until they are there. */
  found: Owned<Entry>[] | null
  hasMore: boolean
  /** Asks for more entries than so far. */
  showMore: () => void
  failure: string | null
  /** Reads them again at once. */
  reload: () => void
}

/**
 * Reads the beginning of a list of each tenant again and again while the page is looked at. A failure keeps what was read before
 * it.
 *
 * @param asked.path of the API; null: nothing is read
 * @param asked.query members of the path's query, besides those of its pages
 * @param asked.tenant the only one; '' for all that are shown
 * @param asked.order as each list of the API comes
 * @param asked.isWhole the list has no pages
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
