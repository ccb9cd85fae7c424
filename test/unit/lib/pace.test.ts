import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { paced } from '../../../lib/pace.ts'

async function timeOf(ms: number, options?: Parameters<typeof paced>[1]): Promise<number> {
  const since = performance.now()
  expect(await paced(() => sleep(ms, 'done'), options)).toBe('done')
  return performance.now() - since
}

it.concurrent('a step that is fast costs no rest', async () => {
  expect(await timeOf(10)).toBeLessThan(90)
})

it.concurrent('housekeeping rests twice as long as a slow step took', async () => {
  expect(await timeOf(120)).toBeGreaterThan(355)
})

it.concurrent('work for which somebody waits goes on at once', async () => {
  expect(await timeOf(150, { isAwaited: true })).toBeLessThan(400)
})
