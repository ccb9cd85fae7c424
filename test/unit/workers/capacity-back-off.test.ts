import { expect, test } from 'vitest'
import type { ProviderAnswer } from '../../../providers/provider.ts'
import { createCapacityBackOff } from '../../../workers/capacity-back-off.ts'

const refused = (retryAfterMs?: number): ProviderAnswer => ({
  ok: false,
  class: 'retryable',
  cause: 'capacity',
  code: 'resource_unavailable',
  message: 'm',
  status: 429,
  ambiguous: false,
  input: false,
  feedback: retryAfterMs === undefined ? {} : { retryAfterMs },
})
const answered: ProviderAnswer = { ok: true, status: 200, body: {}, usage: null, feedback: {} }

test('a tier without capacity backs off for longer each time, and only its own answer ends that', () => {
  let now = 0
  const backOff = createCapacityBackOff(() => now)
  const miss = () => {
    const answer = backOff(refused(), true)
    now += answer.feedback.retryAfterMs!
    return answer.feedback.retryAfterMs
  }
  expect([miss(), miss(), miss()]).toEqual([1000, 2000, 4000])
  backOff(answered, false)
  expect(miss()).toBe(8000)
  backOff(answered, true)
  expect(miss()).toBe(1000)
  expect(backOff(refused(), true)).toMatchObject({ class: 'retryable', cause: 'capacity' })
  expect(backOff(refused(7), true).feedback.retryAfterMs).toBe(7)
})

test('a call that asked for no cheaper tier met a busy provider, and that counts as an attempt', () => {
  const backOff = createCapacityBackOff(() => 0)
  expect(backOff(refused(), false)).toEqual({ ...refused(), cause: 'overloaded' })
})
