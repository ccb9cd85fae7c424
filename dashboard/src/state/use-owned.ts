import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import type { List } from '../wire.ts'
import { useApp } from './app.ts'

export type Owned<Entry> = { tenant: string; entry: Entry }

/** Lists of several tenants in one; null until they are there. `reload` reads them again at once. */
export type OwnedRead<Entry> = { found: Owned<Entry>[] | null; failure: string | null; reload: () => void }

/**
 * Reads a list of each tenant again and again while the page is looked at. A failure keeps what was read before it.
 *
 * @param tenant the only one; '' for all that are shown
 */
export function useOwned<Entry>(path: string, tenant: string, everyMs: number): OwnedRead<Entry> {
  const { api, feed } = useApp()
  const names = tenant === '' ? (feed.overview.value?.tenants ?? []).map(({ id }) => id).join('\n') : tenant
  const [found, setFound] = useState<Owned<Entry>[] | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  const [turn, setTurn] = useState(0)

  useEffect(() => {
    if (names === '') return
    const leaving = new AbortController()
    const { signal } = leaving
    let timer: ReturnType<typeof setTimeout> | undefined
    const read = async () => {
      try {
        if (!document.hidden) {
          const lists = await Promise.all(
            names.split('\n').map(async (name) => {
              const { data } = await api.json<List<Entry>>(path, { tenant: name, signal })
              return data.map((entry) => ({ tenant: name, entry }))
            }),
          )
          setFound(lists.flat())
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
  }, [path, names, turn])

  return { found, failure, reload: () => setTurn(turn + 1) }
}
