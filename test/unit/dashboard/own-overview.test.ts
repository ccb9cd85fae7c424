import { getEventListeners } from 'node:events'
import { afterEach, expect, test, vi } from 'vitest'
import { createApi } from '../../../dashboard/src/api.ts'
import { openOwnOverview } from '../../../dashboard/src/state/own-overview.ts'

afterEach(() => vi.useRealTimers())

test('the wait between two readings leaves no listener behind', async () => {
  vi.useFakeTimers()
  const api = createApi({
    fetch: async () => Response.json({ data: [], figures: null }),
    ...{ base: 'http://sluice', key: () => null, actsAs: () => false, onRefused() {} },
  })
  const { signal } = new AbortController()
  const listeners = () => getEventListeners(signal, 'abort').length
  const overview = openOwnOverview(api, { tenant: 'acme', figures: null } as never, signal)
  const readNext = async () => {
    const read = overview.read()
    await vi.advanceTimersByTimeAsync(3_000)
    expect(await read).not.toBeNull()
  }
  await readNext()
  const before = listeners()
  for (let count = 0; count < 5; count++) await readNext()
  expect(listeners()).toBe(before)
})
