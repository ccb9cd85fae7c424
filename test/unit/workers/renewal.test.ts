import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  createHoldings,
  type Holding,
  lockHolding,
  permitHolding,
  placeHolding,
} from '../../../workers/holdings.ts'
import { createRenewal } from '../../../workers/renewal.ts'

const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter((text) => !text.includes('\n'))

it('what is held reaches the thread unchanged, with any names of lanes and tenants', () => {
  const holding = fc.oneof(
    fc.tuple(name, name, name).map(([lane, entry, token]) => lockHolding(lane, { entry, token })),
    fc.tuple(name, name).map(([tenant, entry]) => placeHolding(tenant, entry)),
    fc.tuple(name, name).map(([lane, permit]) => permitHolding(lane, permit)),
  )
  fc.assert(
    fc.property(fc.array(holding), (held: Holding[]) => {
      const holdings = createHoldings()
      const told = held.filter((one) => holdings.add(one) === null)
      expect([...createHoldings(holdings.memory).list(), ...told].sort()).toEqual([...held].sort())
    }),
    { numRuns: 50 },
  )
})

it('renews what is still held, by lane and tenant', async () => {
  const renewed: unknown[] = []
  const renewal = createRenewal({
    leases: {
      async renewLocks(lane, locks) {
        renewed.push(['locks', lane, locks])
        return []
      },
      async renewPlaces(tenant, entries) {
        renewed.push(['places', tenant, entries])
      },
    },
    gate: {
      async renew(lane, permits) {
        renewed.push(['permits', lane.id, permits])
      },
    },
  })
  const lock = lockHolding('sim/a b', { entry: 'job_1-1', token: 'w:1' })
  const place = placeHolding('acme', 'job_1-1')
  renewal.apply({
    held: [lock, permitHolding('sim/a b', '7-1')],
    dropped: [],
    limits: [['sim/a b', { limits: { window: 60_000, headroom: 0.99 } }]],
  })
  renewal.apply({ held: [place], dropped: [lock], limits: [] })
  renewal.holdings.add(permitHolding('sim/a b', '7-2'))
  await renewal.renew()
  expect(renewed).toEqual([
    ['places', 'acme', ['job_1-1']],
    ['permits', 'sim/a b', ['7-1', '7-2']],
  ])
})
