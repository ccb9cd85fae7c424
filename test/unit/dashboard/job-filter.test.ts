import { expect, test } from 'vitest'
import {
  checkPairs,
  filterNames,
  findUnsupported,
  nextSort,
  noFilter,
  sortJobs,
  toJobQuery,
} from '../../../dashboard/src/state/job-filter.ts'
import type { Job } from '../../../dashboard/src/wire.ts'

test('a filter becomes the parameters of the API', () => {
  const filter = {
    ...noFilter,
    tenant: 'acme',
    error: 'timeout',
    model: 'fast',
    cost: '0.01',
    metadata: 'user = 42 & team=a=b',
    from: '2026-11-01T00:00:00.000Z',
    sort: '-cost',
  }
  const query = new URLSearchParams(toJobQuery(filter, { limit: 50, after: '12:job_1' }))
  expect(Object.fromEntries(query)).toEqual({
    'metadata.user': '42',
    'metadata.team': 'a=b',
    error_code: 'timeout',
    model: 'fast',
    min_cost_usd: '0.01',
    created_after: '2026-11-01T00:00:00.000Z',
    limit: '50',
    after: '12:job_1',
  })
  expect(toJobQuery(noFilter, { limit: 50, after: undefined })).toBe('?limit=50')
})

test('a pair of the metadata has a name and a value', () => {
  for (const good of ['', 'user=42', 'user=42&team=a', 'a==']) expect(checkPairs(good), good).toBeNull()
  for (const bad of ['user', '=42', 'user=', 'user=42&team']) expect(checkPairs(bad), bad).not.toBeNull()
})

test('an action on many jobs is offered if its request can say the filter, and for no other filter', () => {
  const strange = (action: 'cancel' | 'retry') =>
    filterNames.flatMap((name) => findUnsupported(action, { ...noFilter, [name]: 'x' }))
  expect(strange('cancel')).toEqual(['error', 'model', 'cost', 'metadata'])
  expect(strange('retry')).toEqual(['model', 'cost', 'metadata', 'from', 'to'])
})

test('jobs are sorted by a column, the most first, then the least, then in the original order', () => {
  const jobs = [0.2, null, 0.5].map((cost_usd, id) => ({ id: String(id), cost_usd }) as Job)
  const order = (sort: string) => sortJobs(jobs, sort).map(({ id }) => id)
  let sort = ''
  const seen = Array.from({ length: 4 }, () => {
    sort = nextSort(sort, 'cost')
    return order(sort)
  })
  expect(seen).toEqual([
    ['2', '0', '1'],
    ['1', '0', '2'],
    ['0', '1', '2'],
    ['2', '0', '1'],
  ])
  expect(order('-constructor')).toEqual(['0', '1', '2'])
})
