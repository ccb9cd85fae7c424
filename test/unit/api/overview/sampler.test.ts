import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSampler } from '../../../../api/overview/sampler.ts'

const INTERVAL = 20

function open(options: { tookMs?: number } = {}) {
  let taken = 0
  let failure: Error | null = null
  const errors: unknown[] = []
  const sampler = createSampler({
    async take() {
      const own = ++taken
      if (options.tookMs) await new Promise((resolve) => setTimeout(resolve, options.tookMs))
      if (failure) throw failure
      return String(own)
    },
    interval: INTERVAL,
    onError: (error) => errors.push(error),
    now: Date.now,
  })
  return {
    sampler,
    errors,
    taken: () => taken,
    fail(error: Error | null) {
      failure = error
    },
  }
}

describe('a sampler', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('takes one sample for all that ask together, and none while the last is fresh', async () => {
    const { sampler, taken } = open()
    expect(await Promise.all([sampler.latest(), sampler.latest()])).toEqual(['1', '1'])
    expect(await sampler.latest()).toBe('1')
    vi.setSystemTime(Date.now() + INTERVAL)
    expect(await sampler.latest()).toBe('2')
    expect(taken()).toBe(2)
  })
})

describe('watching', () => {
  it('goes on in one chain, however watchers come and go in the middle of a sample', async () => {
    const { sampler, taken } = open({ tookMs: 5 })
    for (let round = 0; round < 5; round++) {
      const leaving = new AbortController()
      const watching = sampler.watch(leaving.signal)
      await watching.next()
      leaving.abort()
      expect((await watching.next()).done).toBe(true)
    }
    const staying = new AbortController()
    const watching = sampler.watch(staying.signal)
    await watching.next()
    const [before, since] = [taken(), performance.now()]
    for (let seen = 0; seen < 5; seen++) await watching.next()
    // Each is a later sample, and there are no others in between.
    expect(taken() - before).toBeLessThanOrEqual(5)
    expect(performance.now() - since).toBeGreaterThanOrEqual(4 * INTERVAL)
    staying.abort()
    await watching.next()
  })

  it('gives a slow reader the newest, not all it missed', async () => {
    const { sampler, taken } = open()
    const leaving = new AbortController()
    const [slow, quick] = [sampler.watch(leaving.signal), sampler.watch(leaving.signal)]
    await Promise.all([slow.next(), quick.next()])
    for (let seen = 0; seen < 3; seen++) await quick.next()
    expect(Number((await slow.next()).value)).toBe(taken())
    leaving.abort()
  })

  it('reports a source that fails once, and goes on when it works again', async () => {
    const { sampler, errors, taken, fail } = open()
    const leaving = new AbortController()
    const watching = sampler.watch(leaving.signal)
    await watching.next()
    fail(new Error('away'))
    const [next, begun] = [watching.next(), taken()]
    await vi.waitFor(() => expect(taken()).toBeGreaterThan(begun + 2), 15_000)
    expect(errors).toHaveLength(1)
    fail(null)
    expect(Number((await next).value)).toBeGreaterThan(begun + 2)
    leaving.abort()
  })
})
