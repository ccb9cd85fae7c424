import { expect, it } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import { OTHER, openFlowShop, type Reply } from '../flows/fixture.ts'
import { chat } from '../flows/forms.ts'

const OPS = 'a-key-of-ops-0123456789'
const as = (key: string) => ({ authorization: `Bearer ${key}` })

it('a paused tenant makes no call, others do, kept answers are given, and all goes on at its end or when it is resumed', async () => {
  const shop = await openFlowShop({ extra: `  ops: { keys: ["${OPS}"], admin: true }` })
  const submit = (text: string, key?: string): Promise<Reply<Job>> =>
    shop.call<Job>('POST', '/v1/jobs', chat(text), key === undefined ? {} : as(key))
  const read = async (id: string, wait = 0): Promise<Job> =>
    (await shop.call<Job>('GET', `/v1/jobs/${id}?wait=${wait}`)).body
  const steer = (change: string, body?: object, tenant = 'acme') =>
    shop.call<{ paused_until: string | null; paused_reason: string | null }>(
      'POST',
      `/v1/tenants/${tenant}/${change}`,
      body,
      as(OPS),
    )

  const { body: kept } = await submit('known')
  expect(await read(kept.id, 20)).toMatchObject({ status: 'completed' })
  const paused = await steer('pause', { for_ms: 600_000, reason: 'a wrong run' })
  expect(paused).toMatchObject({ status: 200, body: { paused_reason: 'a wrong run' } })
  expect(Date.parse(paused.body.paused_until!)).toBeGreaterThan(Date.now() + 500_000)

  const { body: held } = await submit('held back')
  expect(await read((await submit('known')).body.id, 20)).toMatchObject({ status: 'completed', cache: 'hit' })
  const { body: others } = await submit('of another', OTHER)
  const ended = await shop.call<Job>('GET', `/v1/jobs/${others.id}?wait=20`, undefined, as(OTHER))
  expect(ended.body).toMatchObject({ status: 'completed' })
  await expect.poll(async () => (await read(held.id)).waiting_for).toBe('tenant_pause')
  expect(await read(held.id)).toMatchObject({ status: 'queued', attempts: 0 })
  expect(shop.simulator.calls()).toHaveLength(2)

  expect(await steer('resume')).toMatchObject({
    status: 200,
    body: { paused_until: null, paused_reason: null },
  })
  expect(await read(held.id, 20)).toMatchObject({ status: 'completed', attempts: 1, waiting_for: null })

  // A pause with an end needs no operator.
  await steer('pause', { for_ms: 300 })
  const { body: soon } = await submit('soon')
  expect(await read(soon.id, 20)).toMatchObject({ status: 'completed' })
  expect((await steer('pause', {}, 'nobody')).status).toBe(404)
  expect((await shop.call('POST', '/v1/tenants/acme/pause', {})).status).toBe(403)
  const audit = await shop.call<{ data: { action: string }[] }>('GET', '/v1/audit', undefined, as(OPS))
  expect(audit.body.data.map(({ action }) => action).toReversed()).toEqual([
    'tenant.pause',
    'tenant.resume',
    'tenant.pause',
  ])
})
