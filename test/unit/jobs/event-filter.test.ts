import { expect, test } from 'vitest'
import { type FilteredMember, selects } from '../../../jobs/event-filter.ts'

/** As the record of a job holds them. */
const stored: Record<FilteredMember, string> = {
  type: 'chat',
  group: 'nightly',
  lane: 'openai/small',
  flow: 'flow_1 draft 0',
  durable: '0123abcd\nthe step\nreport 1',
}
const asked = { type: 'chat', group: 'nightly', lane: 'openai/small', flow: 'flow_1', durable: 'report 1' }

test('no filter selects every job', () => {
  expect(selects({}, () => null)).toBe(true)
})

test.each(Object.keys(stored) as FilteredMember[])('a filter by %s selects what has just that', (name) => {
  const filter = { [name]: asked[name] }
  expect(selects(filter, (one) => stored[one])).toBe(true)
  expect(selects(asked, (one) => stored[one])).toBe(true)
  for (const absent of [null, undefined, '']) {
    expect(selects(filter, (one) => (one === name ? absent : stored[one]))).toBe(false)
  }
  expect(selects({ ...asked, [name]: `${asked[name]}0` }, (one) => stored[one])).toBe(false)
  expect(selects({ ...asked, [name]: 'the step' }, (one) => stored[one])).toBe(false)
})
