import fc from 'fast-check'
import { expect, test } from 'vitest'
import { noFilter } from '../../../dashboard/src/state/job-filter.ts'
import {
  linkToDurableRun,
  linkToFlow,
  linkToJob,
  linkToJobs,
  linkToLane,
  linkToList,
  parseRoute,
} from '../../../dashboard/src/state/route.ts'

test('every link leads back to the same view, with any ids', () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, unit: 'grapheme' }),
      fc.string({ unit: 'grapheme' }),
      (id, tenant) => {
        expect(parseRoute(linkToLane(id))).toEqual({ view: 'lane', id })
        expect(parseRoute(linkToJob(id, tenant || null))).toEqual({ view: 'job', id, tenant: tenant || null })
        expect(parseRoute(linkToFlow(id, tenant))).toEqual({ view: 'flow', id, tenant })
        expect(parseRoute(linkToDurableRun(id, tenant))).toEqual({ view: 'durable-run', id, tenant })
        const filter = {
          ...noFilter,
          tenant,
          status: 'failed',
          lane: id,
          metadata: `${id}=1`,
          after: '1:job_1,2:job_2',
        }
        expect(parseRoute(linkToJobs(filter))).toEqual({ view: 'jobs', filter })
      },
    ),
  )
})

test('every list keeps its filters in its address', () => {
  const choice = fc.record({ tenant: fc.string(), status: fc.string() })
  fc.assert(
    fc.property(choice, (filter) => {
      expect(parseRoute(linkToList('flows', filter))).toEqual({ view: 'flows', filter })
      expect(parseRoute(linkToList('webhooks', filter))).toEqual({ view: 'webhooks', filter })
    }),
  )
  expect(parseRoute(linkToList('groups', { tenant: 'acme' }))).toEqual({
    view: 'groups',
    filter: { tenant: 'acme' },
  })
  expect(parseRoute('#/budgets?owner=group&tenant=x')).toEqual({
    view: 'budgets',
    filter: { owner: 'group' },
  })
  expect(parseRoute('#/constructor')).toEqual({ view: 'unknown' })
})

test('no address is an error', () => {
  fc.assert(
    fc.property(fc.string(), (hash) => {
      expect(parseRoute(`#/${hash}`).view).toBeTypeOf('string')
    }),
  )
  expect(parseRoute('#/provider-batches')).toEqual({ view: 'provider-batches' })
  expect(parseRoute('')).toEqual({ view: 'overview' })
  expect(parseRoute('#/lanes/%E0%A4%A')).toEqual({ view: 'lane', id: '%E0%A4%A' })
  expect(parseRoute('#/elsewhere')).toEqual({ view: 'unknown' })
})
