import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createWebhookSlots } from '../../../webhooks/delivery-slots.ts'

const most = { perTenant: 8, perHost: 4 }

it('a tenant alone gets its largest share, and leaves as much', () => {
  const slots = createWebhookSlots(most)
  for (let n = 0; n < most.perTenant; n++) {
    expect(slots.free('a')).toBe(most.perTenant - n)
    slots.take('a', `host-${n}`)
  }
  expect(slots.free('a')).toBe(0)
  expect(slots.free('b')).toBe(most.perTenant / 2)
})

it('however many slots others hold, a tenant with none gets one, at every host, and a returned slot is free again', () => {
  const taking = fc.record({ tenant: fc.integer({ max: 30 }), host: fc.integer({ max: 5 }) })
  fc.assert(
    fc.property(fc.array(taking, { maxLength: 300 }), (takings) => {
      const slots = createWebhookSlots(most)
      const held = new Map<string, number>()
      const gives: (() => void)[] = []
      for (const { tenant, host } of takings) {
        const { perHost, inHand } = slots.hosts(`t${tenant}`)
        if (slots.free(`t${tenant}`) <= 0 || (inHand.get(`h${host}`) ?? 0) >= perHost) continue
        gives.push(slots.take(`t${tenant}`, `h${host}`))
        held.set(`t${tenant}`, (held.get(`t${tenant}`) ?? 0) + 1)
      }
      for (const count of held.values()) expect(count).toBeLessThanOrEqual(most.perTenant)
      expect(slots.free('newcomer')).toBeGreaterThanOrEqual(1)
      const { perHost, inHand } = slots.hosts('newcomer')
      for (const count of inHand.values()) expect(perHost - count).toBeGreaterThanOrEqual(1)
      for (const give of gives) give()
      expect(slots.free('newcomer')).toBe(most.perTenant)
      expect(slots.hosts('newcomer').inHand.size).toBe(0)
    }),
  )
})
