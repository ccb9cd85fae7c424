import fc from 'fast-check'
import { expect, test } from 'vitest'
import { splitByWeight } from '../../../providers/split-by-weight.ts'

test('shares are whole, sum exactly to the total and are within one of their quota', () => {
  const weights = fc.array(fc.nat(300_000), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(fc.nat(10_000_000), weights, (total, given) => {
      const shares = splitByWeight(total, given)
      const sum = given.reduce((left, right) => left + right, 0)
      expect(shares.reduce((left, right) => left + right, 0)).toBe(total)
      shares.forEach((share, index) => {
        const quota = sum > 0 ? (total * given[index]!) / sum : total / given.length
        expect(Number.isInteger(share)).toBe(true)
        expect(Math.abs(share - quota)).toBeLessThanOrEqual(1)
      })
    }),
  )
})

test('a part without weight gets nothing', () => {
  expect(splitByWeight(7, [0, 2, 0, 2])).toEqual([0, 4, 0, 3])
})
