import { expect, it } from 'vitest'
import { createJobIds } from '../../../lib/job-id.ts'

const shape = /^job_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/

it('ids sort in the order they were made, within a millisecond and over more than it can count', () => {
  const next = createJobIds(() => 1_795_464_000_000)
  const ids = Array.from({ length: 10_000 }, next)
  expect(ids).toEqual([...ids].sort())
  expect(new Set(ids).size).toBe(ids.length)
  for (const id of ids) expect(id).toMatch(shape)
})

it('ids go on upwards when the clock falls back', () => {
  let time = 1_795_464_000_000
  const next = createJobIds(() => time)
  const before = next()
  time -= 3_600_000
  expect(next() > before).toBe(true)
})
