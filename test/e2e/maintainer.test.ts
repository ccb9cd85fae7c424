import { expect, onTestFinished, test } from 'vitest'
import type { Overview } from '../../api/overview/snapshot.ts'
import { chat, createJob, get, startStack, waitForJob } from '../helpers/stack.ts'

test('another worker takes over from a frozen maintainer, and scheduled jobs start within a second of their time', async () => {
  const stack = await startStack({ workers: 2 })
  onTestFinished(async () => {
    await stack.stop()
  })
  const url = stack.urls[0]!
  const elected = async () => (await get<Overview>(url, '/v1/overview')).maintainer?.worker ?? null
  const workerOf = (name: string) => stack.workers.find(({ pid }) => name.endsWith(`:${pid}`))!
  const takeOver = async (name: string) => {
    const since = performance.now()
    await expect.poll(elected, { timeout: 10_000, interval: 50 }).not.toBe(name)
    await expect.poll(elected, { timeout: 10_000, interval: 50 }).not.toBeNull()
    return performance.now() - since
  }
  /** How late a job starts that is scheduled now, ms. */
  const lateness = async () => {
    const { id } = await createJob(url, chat(`later ${performance.now()}`, { delay_ms: 300 }))
    const { started_at, run_at } = await waitForJob(url, id)
    return Date.parse(started_at!) - Date.parse(run_at!)
  }
  // One of several: others on the machine may hold one up.
  const startsInTime = () => expect.poll(lateness, { timeout: 15_000 }).toBeLessThan(1000)
  await expect.poll(elected, { timeout: 10_000, interval: 50 }).not.toBeNull()
  const first = (await elected())!
  await startsInTime()

  workerOf(first).kill('SIGSTOP')
  expect(await takeOver(first)).toBeLessThan(10_000)
  const second = (await elected())!
  await startsInTime()
  // It finds out by itself that it is not elected any more.
  workerOf(first).kill('SIGCONT')
  await workerOf(first).waitForOutput(/is not the maintainer any more/)
  expect(await elected()).toBe(second)
}, 60_000)
