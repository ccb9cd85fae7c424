import { afterAll, beforeAll, expect, it } from 'vitest'
import { type CreateJob, createClient, type Fetch, SluiceError } from '../../../client/index.ts'
import { createTestApi, type TestApi } from '../../helpers/api.ts'

let api: TestApi
let url: string
beforeAll(async () => {
  api = await createTestApi({ tenants: {} })
  url = await api.listen()
})
afterAll(() => api.close())

const job: CreateJob = {
  type: 'chat',
  body: { model: 'openai/small', messages: [{ role: 'user', content: 'again' }] },
}

it('a schedule is created once, also where the answer is lost, and read, changed, run and deleted', async () => {
  let lost = 0
  const losing: Fetch = async (input, init) => {
    const answer = await fetch(input, init)
    if (init?.method !== 'POST' || lost++ > 0) return answer
    throw new TypeError('the connection broke')
  }
  const retries = { attempts: 5, firstWaitMs: 5, longestWaitMs: 50 }
  const { schedules, list } = createClient({ url, retries, fetch: losing })
  const made = await schedules.create({ name: 'digest', cron: '@daily', job })
  expect(lost).toBe(2)
  const others = await Promise.all([1, 2].map(() => schedules.create({ every: '1h', job })))
  const all = await Array.fromAsync(schedules.list({ limit: 1 }))
  expect(all.map(({ id }) => id).sort()).toEqual([made, ...others].map(({ id }) => id).sort())
  expect(await schedules.update(made.id, { paused: true })).toMatchObject({ paused: true, cron: '@daily' })
  const ran = [await schedules.run(made.id), await schedules.run(made.id)]
  const runs = await Array.fromAsync(schedules.runs(made.id, { limit: 1 }))
  expect(runs.map((run) => run.job_id)).toEqual(ran.map(({ id }) => id).reverse())
  expect((await Array.fromAsync(list({ schedule: made.id }))).map(({ id }) => id)).toEqual(
    ran.map(({ id }) => id).reverse(),
  )
  await schedules.delete(made.id)
  await schedules.delete(made.id)
  const gone = await schedules.get(made.id).catch((error: unknown) => error)
  expect(gone).toBeInstanceOf(SluiceError)
  expect(gone).toMatchObject({ status: 404 })
})
