import type { Client } from './client.ts'

type Page<Entry> = { data: Entry[]; has_more: boolean; last_id: string | null }

/** The server's largest page. */
const PAGE = 1000

/**
 * Yields the first `limit` entries of a list of the server, page by page.
 *
 * @param filter further query parameters; undefined ones are left out
 */
export async function* listPages<Entry>(
  client: Pick<Client, 'json'>,
  path: string,
  limit: number,
  filter: Readonly<Record<string, string | undefined>> = {},
): AsyncGenerator<Entry> {
  let after: string | null = null
  for (let left = limit; left > 0; ) {
    const query = new URLSearchParams({ limit: String(Math.min(PAGE, left)) })
    for (const [name, value] of Object.entries(filter)) if (value !== undefined) query.set(name, value)
    if (after !== null) query.set('after', after)
    const page: Page<Entry> = await client.json('GET', `${path}?${query}`)
    yield* page.data
    left -= page.data.length
    after = page.last_id
    if (!page.has_more || after === null) return
  }
}
