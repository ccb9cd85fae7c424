import { expect, it } from 'vitest'
import { createAtRest } from '../../../jobs/at-rest.ts'
import { digestPrefix } from '../../../jobs/prompt-prefixes.ts'
import { createSealer } from '../../../lib/sealer.ts'

const under = (...keys: Buffer[]) =>
  createAtRest({ sealer: createSealer({ keys, now: () => 0 }), onUnreadable: () => {} })

it('names a prefix by a digest that is keyed where encryption is configured', () => {
  const names = [under(), under(Buffer.alloc(32, 1)), under(Buffer.alloc(32, 2))].map((atRest) =>
    digestPrefix('abc', atRest),
  )
  expect(new Set([...names, 'abc']).size).toBe(4)
  expect(digestPrefix('abc', under(Buffer.alloc(32, 1)))).toBe(names[1])
})
