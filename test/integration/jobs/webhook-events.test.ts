import { expect, it } from 'vitest'
import type { WebhookEvent as JobWebhookEvent } from '../../../jobs/job.ts'
import { complete, fail, openTestStore, submit, TENANT, type TestStore } from '../../helpers/store.ts'

const ENDINGS: Record<JobWebhookEvent, (store: TestStore, id: string) => Promise<unknown>> = {
  'job.completed': async (store) => complete(store, await store.start()),
  'job.failed': async (store) => fail(store, await store.start()),
  'job.cancelled': (store, id) => store.jobs.cancel(TENANT, id),
}
const EVENTS = Object.keys(ENDINGS) as JobWebhookEvent[]

it.each(EVENTS)('a webhook for %s is made at that end of its job, and at no other', async (wanted) => {
  const store = await openTestStore()
  for (const event of EVENTS) {
    const webhook = { url: 'https://hooks.example.com/', events: [wanted] }
    const { id } = await submit(store, { webhook }, event)
    await ENDINGS[event](store, id)
    const deliveries = await store.jobs.deliveries(TENANT, id)
    expect(deliveries?.map((delivery) => delivery.event)).toEqual(event === wanted ? [wanted] : [])
  }
})
