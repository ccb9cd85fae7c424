import { describe, expect, it } from 'vitest'
import type { Lane } from '../../../config/lanes.ts'
import type { Gate, Settlement } from '../../../ratelimit/gate.ts'
import { gatherSettlements } from '../../../workers/gather-settlements.ts'

const lane = { id: 'sim/chat' } as Lane
const settlement = (permit: string): Settlement => ({ permit, actual: null })

/** A gate that records the permits of each settlement and answers on command. */
function openGate() {
  const calls: { permits: string[]; answer: PromiseWithResolvers<void> }[] = []
  const gate = {
    settle: (_lane: Lane, settlements: Settlement[]) => {
      const answer = Promise.withResolvers<void>()
      calls.push({ permits: settlements.map(({ permit }) => permit), answer })
      return answer.promise
    },
  } as Partial<Gate> as Gate
  return { calls, gate: gatherSettlements(gate) }
}

const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

describe('gathered settlements', () => {
  it('travel together when they come within one turn, in their order', async () => {
    const { calls, gate } = openGate()
    gate.settle(lane, [settlement('a'), settlement('b')])
    await Promise.resolve()
    gate.settle(lane, [settlement('c')])
    await turn()
    expect(calls.map(({ permits }) => permits)).toEqual([['a', 'b', 'c']])
  })

  it('do not wait for those under way', async () => {
    const { calls, gate } = openGate()
    gate.settle(lane, [settlement('a')])
    await turn()
    gate.settle(lane, [settlement('b')])
    await turn()
    expect(calls.map(({ permits }) => permits)).toEqual([['a'], ['b']])
  })

  it('resolve once the store has answered, each with its own trip', async () => {
    const { calls, gate } = openGate()
    const ended: string[] = []
    gate.settle(lane, [settlement('a')]).then(() => ended.push('a'))
    await turn()
    gate.settle(lane, [settlement('b')]).then(() => ended.push('b'))
    await turn()
    expect(ended).toEqual([])
    calls[1]!.answer.resolve()
    await turn()
    expect(ended).toEqual(['b'])
  })

  it('all reject when the store does not take them, and the next ones are sent again', async () => {
    const { calls, gate } = openGate()
    const both = Promise.allSettled([
      gate.settle(lane, [settlement('a')]),
      gate.settle(lane, [settlement('b')]),
    ])
    await turn()
    calls[0]!.answer.reject(new Error('away'))
    expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    gate.settle(lane, [settlement('c')])
    await turn()
    expect(calls[1]!.permits).toEqual(['c'])
  })
})
