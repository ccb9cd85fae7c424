import { describe, expect, it } from 'vitest'
import { createOpenLanes } from '../../../jobs/open-lanes.ts'
import { LANE, newJob, statusesOf, TENANT, type TestStore, until } from '../../helpers/store.ts'
import { EMBED_LANE, openWorkshop } from './fixture.ts'

/** The API's way to the workers that report that they are open, once one has. */
async function openApi(store: TestStore) {
  const openLanes = createOpenLanes({ pubsub: store.pubsub, prefix: store.prefix, now: Date.now })
  await until(() => openLanes.pick(LANE) !== null)
  const jobs = store.openJobs({ openLanes })
  return {
    openLanes,
    async submit(text: string): Promise<string> {
      const outcome = await jobs.create(newJob({ isAwaited: true }, text))
      if (outcome.kind !== 'created') throw new Error(`got ${outcome.kind}`)
      return outcome.job.id
    },
  }
}

describe('jobs straight from the API', () => {
  it('are called once each, those that have to wait in the queue', async () => {
    const { store, simulator, work } = await openWorkshop({
      limits: '{ max_concurrency: 2 }',
      simulator: { latencyMs: 20 },
    })
    await work()
    const { submit } = await openApi(store)
    const ids = await Promise.all(Array.from({ length: 10 }, (_, index) => submit(`number ${index}`)))
    await until(async () => (await statusesOf(store, ids)).every((status) => status === 'completed'))
    expect(simulator.state().calls).toBe(10)
    const queued = await store.redis.get(`${store.prefix}:{l:${LANE}}:calls:id`)
    expect(Number(queued)).toBeLessThan(10)
    expect(await store.redis.zcard(`${store.root}:outbox`)).toBe(0)
  })

  it('are tried again through the queue', async () => {
    const { store, simulator, work } = await openWorkshop()
    await work()
    const { submit } = await openApi(store)
    simulator.setFaults([{ kind: '500', times: 2 }])
    const id = await submit('again')
    await until(async () => (await statusesOf(store, [id]))[0] === 'completed')
    expect(await store.jobs.attempts(TENANT, id)).toHaveLength(3)
  })

  it('go to another worker, or the queue, when one stops', async () => {
    const { store, work } = await openWorkshop()
    const worker = await work()
    const { openLanes, submit } = await openApi(store)
    await worker.stop()
    await until(() => openLanes.pick(LANE) === null)
    const queued = await submit('while none works')
    await work()
    await until(() => openLanes.pick(LANE) !== null)
    const straight = await submit('while another works')
    await until(async () =>
      (await statusesOf(store, [queued, straight])).every((status) => status === 'completed'),
    )
  })

  it('are not offered to lanes that gather requests', async () => {
    const { store, work } = await openWorkshop()
    await work()
    const { openLanes } = await openApi(store)
    expect(openLanes.pick(EMBED_LANE)).toBeNull()
  })
})
