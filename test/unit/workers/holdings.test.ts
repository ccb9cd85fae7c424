import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createHoldings,
  type Holding,
  permitHolding,
  placeHolding,
  readHolding,
} from '../../../workers/holdings.ts'

const permit = (number: number) => permitHolding('sim/chat', `1-${number}`)
const numbersOf = (held: Holding[]) =>
  held.map((one) => Number(readHolding(one).name.slice(2))).sort((a, b) => a - b)

describe('holdings', () => {
  it('shows a reader of the memory what was added and not removed', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 30 }), { maxLength: 200 }), (steps) => {
        const holdings = createHoldings()
        const reader = createHoldings(holdings.memory)
        const slots = new Map<number, number>()
        for (const step of steps) {
          const slot = slots.get(step)
          if (slot === undefined) slots.set(step, holdings.add(permit(step))!)
          else {
            holdings.remove(slot)
            slots.delete(step)
          }
        }
        expect(numbersOf(reader.list())).toEqual([...slots.keys()].sort((a, b) => a - b))
        expect(new Set(slots.values()).size).toBe(slots.size)
      }),
      { numRuns: 50 },
    )
  })

  it('has no slot for a text that is too long, or when all are taken, and one again when another leaves', () => {
    const holdings = createHoldings()
    expect(holdings.add(placeHolding('ü'.repeat(120), 'job_1-1'))).toBeNull()
    const slots: (number | null)[] = []
    for (let number = 0; number < 4097; number++) slots.push(holdings.add(permit(number)))
    expect(slots.indexOf(null)).toBe(4096)
    holdings.remove(slots[7]!)
    expect(holdings.add(permit(5000))).toBe(slots[7])
    expect(numbersOf(holdings.list())).toHaveLength(4096)
  })
})
