import fc from 'fast-check'
import { expect, it } from 'vitest'
import { GROUP_PARTS, groupKey } from '../../../jobs/keys.ts'
import { collectKeyWords } from '../../helpers/key-words.ts'

const words = collectKeyWords()

/** Names made of the words of our own keys. */
const name = fc
  .array(fc.constantFrom('nightly', '', 'a', ...words), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join(':'))
  .filter((text) => /^[\w.:-]{1,128}$/.test(text))

const keysOf = (group: string) => {
  const key = groupKey('s:{t:a}', group)
  return [key, ...GROUP_PARTS.map((part) => `${key}:${part}`)]
}

it('knows the words of the keys', () => {
  expect(words).toEqual(expect.arrayContaining(['events', 'jobs', 'deliveries', 'sizes', 'layout', 'group']))
})

it('gives two groups no key in common, with any names', () => {
  fc.assert(
    fc.property(name, name, (one, other) => {
      const all = [...keysOf(one), ...(one === other ? [] : keysOf(other))]
      expect(new Set(all).size).toBe(all.length)
    }),
    { numRuns: 20_000 },
  )
})

it('leaves the keys of all names unchanged that cannot be confused with part of a group', () => {
  for (const group of ['nightly', 'nightly:2026-11', 'jobs', 'a:jobs:b', 'a.events', 'a:jobss']) {
    expect(groupKey('s:{t:a}', group)).toBe(`s:{t:a}:group:${group}`)
  }
})
