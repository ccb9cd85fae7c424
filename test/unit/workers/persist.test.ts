import { describe, expect, it } from 'vitest'
import { persist } from '../../../workers/persist.ts'

describe('persist', () => {
  it('writes until the store takes it', async () => {
    const errors: unknown[] = []
    let left = 2
    const written = await persist(
      async () => {
        if (left-- > 0) throw new Error('away')
        return 'stored'
      },
      { signal: new AbortController().signal, onError: (error) => errors.push(error) },
    )
    expect(written).toBe('stored')
    expect(errors).toHaveLength(2)
  })

  it('gives up with the error of the write when the process has to go', async () => {
    const leaving = new AbortController()
    const writing = persist(() => Promise.reject(new Error('away')), {
      signal: leaving.signal,
      onError: () => leaving.abort(),
    })
    await expect(writing).rejects.toThrow('away')
  })

  it('gives up in the middle of a pause', async () => {
    const leaving = new AbortController()
    let tries = 0
    const writing = persist(() => Promise.reject(new Error(`try ${++tries}`)), {
      signal: leaving.signal,
      onError: () => setImmediate(() => leaving.abort()),
    })
    await expect(writing).rejects.toThrow('try 1')
    expect(tries).toBe(1)
  })

  it('tries once even when the process is going', async () => {
    const write = persist(async () => 'stored', { signal: AbortSignal.abort(), onError() {} })
    expect(await write).toBe('stored')
  })
})

describe('what persist was given to be secured', () => {
  /** A safe place that records what happens to it. */
  function openPlace() {
    const seen: string[] = []
    const secure = async () => {
      seen.push('in')
      return async () => {
        seen.push('out')
      }
    }
    return { seen, secure }
  }

  it('is left alone when the first attempt succeeds', async () => {
    const { seen, secure } = openPlace()
    await persist(async () => 'stored', { signal: new AbortController().signal, onError() {}, secure })
    expect(seen).toEqual([])
  })

  it('is secured once, however often the store refuses, and taken away when it is stored', async () => {
    const { seen, secure } = openPlace()
    let left = 3
    const write = async () => {
      if (left-- > 0) throw new Error('full')
    }
    await persist(write, { signal: new AbortController().signal, onError() {}, secure })
    await new Promise((resolve) => setImmediate(resolve))
    expect(seen).toEqual(['in', 'out'])
  })

  it('stays, and is there before it is given up', async () => {
    const { seen, secure } = openPlace()
    const writing = persist(() => Promise.reject(new Error('full')), {
      signal: AbortSignal.abort(),
      onError() {},
      secure,
    })
    await expect(writing).rejects.toThrow('full')
    expect(seen).toEqual(['in'])
  })
})
