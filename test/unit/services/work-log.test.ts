import { expect, test } from 'vitest'
import { orReport } from '../../../services/work-log.ts'

test('a fault in telling of a call is reported, and goes no further', () => {
  const told: number[] = []
  const faults: unknown[] = []
  const fault = new Error('no number')
  const tell = orReport(
    (event: number) => {
      if (event < 0) throw fault
      told.push(event)
    },
    (error) => faults.push(error),
  )
  tell(1)
  tell(-1)
  tell(2)
  expect(told).toEqual([1, 2])
  expect(faults).toEqual([fault])
})
