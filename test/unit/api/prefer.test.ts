import { expect, it } from 'vitest'
import { parsePreferWait, prefersAsync } from '../../../api/prefer.ts'

it.each([
  ['wait=30', 30],
  ['respond-async, wait=5', 5],
  ['Wait="7"', 7],
  ['wait=10; foo=bar', 10],
  ['wait=900', 60],
  ['wait=0', 0],
])('reads the wait of %j', (header, seconds) => {
  expect(parsePreferWait(header, 60)).toBe(seconds)
})

it.each([undefined, '', 'respond-async', 'wait', 'wait=soon', 'wait=-1', 'await=3'])(
  'ignores %j',
  (header) => {
    expect(parsePreferWait(header, 60)).toBeNull()
  },
)

it.each([
  ['respond-async', true],
  ['wait=10, Respond-Async; a=b', true],
  [['wait=1', 'respond-async'], true],
  [undefined, false],
  ['respond-asynchronously', false],
  ['wait=5', false],
])('tells whether %j prefers an answer later', (header, prefers) => {
  expect(prefersAsync(header)).toBe(prefers)
})
