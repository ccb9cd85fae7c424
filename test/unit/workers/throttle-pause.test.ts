import { expect, test } from 'vitest'
import type { ProviderAnswer } from '../../../providers/provider.ts'
import { createThrottlePause } from '../../../workers/throttle-pause.ts'

const refused = (retryAfterMs?: number): ProviderAnswer => ({
  ok: false,
  class: 'throttled',
  code: 'rate_limit_exceeded',
  message: 'm',
  status: 429,
  ambiguous: false,
  input: false,
  feedback: retryAfterMs === undefined ? {} : { retryAfterMs },
})
const answered: ProviderAnswer = { ok: true, status: 200, body: {}, usage: null, feedback: {} }

test('429s without a wait, or with one of zero, pause for longer each time, up to a minute', () => {
  let now = 0
  const pause = createThrottlePause(() => now)
  const waits = Array.from({ length: 9 }, (_, at) => {
    const wait = pause(refused(at % 2 === 0 ? undefined : 0)).feedback.retryAfterMs!
    now += wait
    return wait
  })
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000])
  pause(answered)
  expect(pause(refused()).feedback.retryAfterMs).toBe(1000)
})

test('calls that were under way together count once, and a wait that is named stays', () => {
  let now = 0
  const pause = createThrottlePause(() => now)
  for (let call = 0; call < 50; call += 1) expect(pause(refused()).feedback.retryAfterMs).toBe(1000)
  expect(pause(refused(70)).feedback.retryAfterMs).toBe(70)
  now = 1000
  expect(pause(refused()).feedback.retryAfterMs).toBe(2000)
  expect(pause(answered)).toBe(answered)
})
