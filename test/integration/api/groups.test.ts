import { afterEach, beforeEach, expect, it } from 'vitest'
import type { GroupEntry } from '../../../jobs/job.ts'
import { chatJob, createTestApi, type TestApi } from '../../helpers/api.ts'
import { until } from '../../helpers/store.ts'

let api: TestApi
beforeEach(async () => {
  api = await createTestApi()
})
afterEach(() => api.close())

let texts = 0
const createId = async (group: string): Promise<string> => {
  const payload = chatJob({ group }, `text ${++texts}`)
  const { id } = (await api.app.inject({ method: 'POST', url: '/v1/jobs', payload })).json()
  await tick()
  return id
}
/** Changes within one millisecond have no order. */
const tick = () => {
  const at = Date.now()
  return until(() => Date.now() > at)
}

type List = { data: GroupEntry[]; has_more: boolean; first_id: string | null; last_id: string | null }
const list = async (query = ''): Promise<List> => (await api.app.inject({ url: `/v1/groups${query}` })).json()
const names = async (query = '') => (await list(query)).data.map(({ group }) => group)

it('lists groups by their last change, with the states of their jobs', async () => {
  expect(await list()).toEqual({ object: 'list', data: [], has_more: false, first_id: null, last_id: null })
  const before = Date.now()
  const id = await createId('a')
  await createId('b')
  await createId('a:2')
  expect(await names()).toEqual(['a:2', 'b', 'a'])
  await api.worker.finish(id, { costUsd: 0.25 })
  const { data } = await list()
  expect(data.map(({ group }) => group)).toEqual(['a', 'a:2', 'b'])
  expect(data[0]).toMatchObject({ total: 1, counts: { completed: 1, queued: 0 }, cost_usd: 0.25 })
  expect(Date.parse(data[0]!.updated_at)).toBeGreaterThanOrEqual(before)
})

it('pages through them', async () => {
  for (const group of ['a', 'b', 'c']) await createId(group)
  const first = await list('?limit=2')
  expect([first.data.map(({ group }) => group), first.has_more]).toEqual([['c', 'b'], true])
  const next = `?limit=2&after=${first.last_id}`
  expect(await list(next)).toMatchObject({ data: [{ group: 'a' }], has_more: false })
  // The last one of the page moves to the front, and is then deleted: what is behind its place stays the same.
  const id = await createId('b')
  expect(await names(next)).toEqual(['a'])
  await api.app.inject({ method: 'DELETE', url: `/v1/jobs/${id}` })
  expect(await names(next)).toEqual(['a'])
  expect((await api.app.inject({ url: '/v1/groups?after=b' })).json().error).toMatchObject({
    code: 'invalid_request',
    param: 'query.after',
  })
})

it('pages through groups that changed within one millisecond', async () => {
  const all = ['e', 'd', 'c', 'b', 'a']
  for (const group of all) await createId(group)
  for (const group of all) await api.redis.zadd(`${api.root()}:groups`, 1_700_000_000_000, group)
  const seen: string[] = []
  for (let after = ''; ; ) {
    const { data, has_more, last_id } = await list(`?limit=2${after}`)
    seen.push(...data.map(({ group }) => group))
    after = `&after=${last_id}`
    if (!has_more) break
  }
  expect(seen).toEqual(all)
})

it('deletes a group with its last job', async () => {
  const ids = [await createId('a'), await createId('a')]
  await createId('b')
  await api.app.inject({ method: 'DELETE', url: `/v1/jobs/${ids[0]}` })
  expect(await names()).toEqual(['b', 'a'])
  await api.app.inject({ method: 'DELETE', url: `/v1/jobs/${ids[1]}` })
  expect(await names()).toEqual(['b'])
  expect(await api.redis.zrange(`${api.root()}:groups`, '0', '-1')).toEqual(['b'])
})
