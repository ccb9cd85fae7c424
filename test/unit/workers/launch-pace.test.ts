import { expect, it } from 'vitest'
import { createLaunchPace } from '../../../workers/launch-pace.ts'

it('counts the calls that left in half a second, and drops them a second later', () => {
  let time = 1000
  const pace = createLaunchPace(() => time)
  expect(pace.perSpan()).toBe(0)
  pace.count(30)
  time += 400
  pace.count(10)
  expect(pace.perSpan()).toBe(40)
  time += 200
  pace.count(5)
  expect(pace.perSpan()).toBe(40)
  time += 500
  expect(pace.perSpan()).toBe(5)
  time += 5000
  expect(pace.perSpan()).toBe(0)
})
