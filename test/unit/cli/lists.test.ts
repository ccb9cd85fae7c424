import { afterEach, expect, test, vi } from 'vitest'
import { runGroups } from '../../../cli/groups.ts'
import { listPages } from '../../../cli/list-pages.ts'
import { runList as runListSchedules } from '../../../cli/schedules.ts'
import { keepTerminal } from '../../helpers/cli.ts'

const options = { url: 'http://127.0.0.1:1', patience: 0, json: true }

afterEach(() => vi.unstubAllGlobals())

/** Serves lists of entries by path and tenant, in pages as large as the request allows. */
function serve(lists: (path: string, tenant: string | null) => { id: string }[]): void {
  vi.stubGlobal('fetch', async (url: string | URL, init: RequestInit) => {
    const { pathname, searchParams: query } = new URL(url)
    const all = lists(pathname, new Headers(init.headers).get('x-tenant'))
    const limit = Number(query.get('limit') ?? all.length)
    if (limit > 1000) return Response.json({ error: { message: 'limit: at most 1000' } }, { status: 400 })
    const from = all.findIndex(({ id }) => id === query.get('after')) + 1
    const data = all.slice(from, from + limit)
    return Response.json({ data, has_more: from + limit < all.length, last_id: data.at(-1)?.id ?? null })
  })
}

test('a list is read page by page, up to its limit', async () => {
  const all = Array.from({ length: 3000 }, (_, number) => ({ id: `e${number}` }))
  const asked: string[] = []
  const client = {
    async json<T>(_method: string, path: string): Promise<T> {
      asked.push(path)
      const query = new URLSearchParams(path.slice(path.indexOf('?')))
      const from = all.findIndex(({ id }) => id === query.get('after')) + 1
      const data = all.slice(from, from + Number(query.get('limit')))
      return { data, has_more: true, last_id: data.at(-1)!.id } as T
    },
  }
  const filter = { status: 'failed', name: undefined }
  const entries = await Array.fromAsync(listPages(client, '/v1/things', 2500, filter))
  expect(entries).toEqual(all.slice(0, 2500))
  expect(asked).toEqual([
    '/v1/things?limit=1000&status=failed',
    '/v1/things?limit=1000&status=failed&after=e999',
    '/v1/things?limit=500&status=failed&after=e1999',
  ])
})

test('groups lists more of them than one page holds', async () => {
  const groups = Array.from({ length: 1200 }, (_, number) => ({
    id: `g${number}`,
    updated_at: '2026-11-30T00:00:00Z',
  }))
  serve((path) => (path === '/v1/groups' ? groups : []))
  const { terminal, text } = keepTerminal()
  await runGroups(terminal, { ...options, limit: 1100 })
  expect(text().trimEnd().split('\n')).toHaveLength(1100)
})

test('schedules list shows the newest of all tenants first', async () => {
  const schedules: Record<string, { id: string; created_at: string }[]> = {
    acme: [{ id: 'old', created_at: '2026-11-01T00:00:00Z' }],
    shop: [{ id: 'new', created_at: '2026-11-02T00:00:00Z' }],
  }
  serve((path, tenant) => (path === '/v1/tenants' ? [{ id: 'acme' }, { id: 'shop' }] : schedules[tenant!]!))
  const { terminal, text } = keepTerminal()
  await runListSchedules(terminal, { ...options, limit: 1 })
  expect(text()).toMatch(/^\{"tenant":"shop","id":"new"/)
})
