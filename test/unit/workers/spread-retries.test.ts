import { describe, expect, it } from 'vitest'
import type { Outcome } from '../../../workers/outcome.ts'
import { spreadRetries } from '../../../workers/spread-retries.ts'

const retryAt = (at: number): Outcome => ({ kind: 'retry', at, reason: 'broken', waitingFor: 'retry_delay' })
const throttled: Outcome = {
  kind: 'throttled',
  at: 5,
  reason: 'busy',
  waitingFor: 'provider_pause',
  throttles: { count: 1, since: 1 },
}

/** A budget that answers with these waits, and records what it was asked. */
function bookWith(waits: number[]) {
  const asked: number[] = []
  return {
    asked,
    book: async (count: number) => {
      asked.push(count)
      return waits.slice(0, count)
    },
  }
}

describe('spreadRetries', () => {
  it('puts each retry off by what the budget says beyond its own back-off', async () => {
    const { book, asked } = bookWith([0, 2000])
    expect(await spreadRetries([retryAt(100), retryAt(200)], book)).toEqual([retryAt(100), retryAt(2200)])
    expect(asked).toEqual([2])
  })

  it('books jobs that go again at the same time as the one request that they will be', async () => {
    const { book, asked } = bookWith([3000])
    const spread = await spreadRetries([retryAt(100), retryAt(100), retryAt(100)], book)
    expect(spread).toEqual([retryAt(3100), retryAt(3100), retryAt(3100)])
    expect(asked).toEqual([1])
  })

  it('asks for nothing when nothing is retried, and leaves other outcomes alone', async () => {
    const { book, asked } = bookWith([1000])
    const others: Outcome[] = [throttled, { kind: 'released' }]
    expect(await spreadRetries(others, book)).toEqual(others)
    expect(asked).toEqual([])
    expect(await spreadRetries([throttled, retryAt(7)], book)).toEqual([throttled, retryAt(1007)])
  })

  it('schedules without the budget where that has no answer', async () => {
    expect(await spreadRetries([retryAt(100)], async () => [])).toEqual([retryAt(100)])
  })
})
