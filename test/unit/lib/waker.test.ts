import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createWaker } from '../../../lib/waker.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Whether the promise has resolved by now. */
async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false
  void promise.then(() => (done = true))
  await vi.advanceTimersByTimeAsync(0)
  return done
}

describe('waker', () => {
  it('sleeps for the given time', async () => {
    const sleep = createWaker().sleep(100)
    await vi.advanceTimersByTimeAsync(99)
    expect(await isDone(sleep)).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await isDone(sleep)).toBe(true)
  })

  it('ends a sleep early', async () => {
    const waker = createWaker()
    const sleep = waker.sleep(100)
    waker.wake()
    expect(await isDone(sleep)).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('remembers a wake-up that came between two sleeps, once', async () => {
    const waker = createWaker()
    waker.wake()
    waker.wake()
    expect(await isDone(waker.sleep(100))).toBe(true)
    expect(await isDone(waker.sleep(100))).toBe(false)
  })

  it('does not owe a wake-up that ended a sleep to the next one', async () => {
    const waker = createWaker()
    const first = waker.sleep(100)
    waker.wake()
    await first
    expect(await isDone(waker.sleep(100))).toBe(false)
  })
})
