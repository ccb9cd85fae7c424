import { expect, it } from 'vitest'
import { createPaces } from '../../../../api/overview/paces.ts'
import { emptyTally } from '../../../../batches/batch.ts'

const at = (text: string) => Date.parse(`2026-11-24T${text}Z`)
const batch = (completed: number, failed = 0) => ({
  id: 'batch_1',
  total: 1000,
  tally: { ...emptyTally, completed, failed },
})

it('foresees the end of a batch from how it went while it was watched', () => {
  const paces = createPaces()
  expect(paces.forecastEnd(batch(100), at('12:00:00'))).toBeNull()
  expect(paces.forecastEnd(batch(100), at('12:00:05'))).toBeNull()
  // 100 lines in 10 s, so 800 in 80 s.
  expect(paces.forecastEnd(batch(190, 10), at('12:00:10'))).toBe('2026-11-24T12:01:30.000Z')
})

it('uses the last minute alone', () => {
  const paces = createPaces()
  paces.forecastEnd(batch(0), at('12:00:00'))
  paces.forecastEnd(batch(500), at('12:00:30'))
  expect(paces.forecastEnd(batch(500), at('12:01:31'))).toBeNull()
  expect(paces.forecastEnd(batch(600), at('12:01:41'))).toBe('2026-11-24T12:02:21.000Z')
})

it('drops those that are not shown any more', () => {
  const paces = createPaces()
  paces.forecastEnd(batch(0), at('12:00:00'))
  paces.keep([])
  expect(paces.forecastEnd(batch(100), at('12:00:10'))).toBeNull()
})
