import { expect, it } from 'vitest'
import { intent, openTestStore, read, submit, TENANT, until } from '../../helpers/store.ts'

/** Jobs with different prompts, fetched together. */
async function fetchMany(count: number) {
  const store = await openTestStore()
  const jobs: string[] = []
  for (let at = 0; at < count; at++) jobs.push((await submit(store, {}, `prompt ${at}`)).id)
  let held = await store.lane().fetch(count)
  await until(async () => {
    held = [...held, ...(await store.lane().fetch(count - held.length || 1))]
    return held.length === count
  })
  return { store, jobs, held: held.toSorted((a, b) => jobs.indexOf(a.id) - jobs.indexOf(b.id)) }
}

it('jobs that are claimed together are claimed as each would be alone', async () => {
  const { store, jobs, held } = await fetchMany(40)
  await store.jobs.cancel(TENANT, jobs[1]!)
  await store.redis.hset(`${store.root}:job:${jobs[2]}`, 'ready_at', Date.now() + 60_000)
  const started = await Promise.all(held.map((one) => store.work.start([one], intent)))
  const kinds = started.map(([one]) => one!.kind)
  expect(kinds).toEqual(['run', 'done', 'wait', ...Array(37).fill('run')])
  const claimed = started.flatMap(([one]) => (one!.kind === 'run' ? [one!.claimed] : []))
  expect(claimed.map(({ id, call }) => [id, call])).toEqual(
    jobs.filter((_, at) => at !== 1 && at !== 2).map((id) => [id, 1]),
  )
  expect((await read(store, jobs[0]!)).status).toBe('running')
})

it('a record that cannot be read keeps none from its claim that is claimed beside it', async () => {
  const { store, jobs, held } = await fetchMany(3)
  await store.redis.set(`${store.root}:job:${jobs[1]}:attempts`, 'no hash')
  const started = await Promise.allSettled(held.map((one) => store.work.start([one], intent)))
  expect(started.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  for (const id of [jobs[0]!, jobs[2]!]) {
    expect((await read(store, id)).status).toBe('running')
    expect(await store.jobs.attempts(TENANT, id)).toHaveLength(1)
  }
})
