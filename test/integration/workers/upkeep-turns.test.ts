import { pino } from 'pino'
import { expect, it, onTestFinished } from 'vitest'
import { createLiveConfig } from '../../../config/watch.ts'
import { tenantRoot, webhookChannel } from '../../../jobs/keys.ts'
import { createLive } from '../../../jobs/live.ts'
import { closeRedis, createRedis } from '../../../lib/redis.ts'
import { orCloseAll } from '../../../services/closers.ts'
import { wakeDelivery } from '../../../services/tenants.ts'
import { parseTestConfig } from '../../helpers/api.ts'
import { openTestStore, until } from '../../helpers/store.ts'
import { openWorkshop } from './fixture.ts'

it('sweeps do not pile up behind a slow one, which holds up neither lanes nor their announcement', async () => {
  const { store, work } = await openWorkshop()
  const slow = Promise.withResolvers<void>()
  onTestFinished(() => slow.resolve())
  let sweeps = 0
  let announced = 0
  let looks = 0
  await work(undefined, {
    maintenance: {
      ...store.maintenance,
      async sweep() {
        sweeps++
        if (sweeps === 1) await slow.promise
      },
    },
    knownLanes() {
      looks++
      return store.queues.lanes()
    },
    announce: async () => ++announced,
  })
  const before = looks
  // Each of them once a second.
  await until(() => announced >= 3 && looks >= before + 2)
  expect(sweeps).toBe(1)
  slow.resolve()
  await until(() => sweeps === 2)
})

it('the delivery of webhooks is woken for a tenant that a change of the configuration brought, until one takes it away', async () => {
  const store = await openTestStore()
  const tenant = (name: string) => ({ [name]: { keys: [`key-of-${name}-0123456789`] } })
  const live = createLiveConfig(parseTestConfig({ tenants: tenant('first') }))
  let wakes = 0
  const closers = await orCloseAll(pino({ level: 'silent' }), async (opened) => opened)
  onTestFinished(closers.closeAll)
  const subscriber = createRedis({ url: store.url, role: 'subscriber', name: 'test' })
  onTestFinished(() => closeRedis(subscriber))
  const deps = { config: live } as Parameters<typeof wakeDelivery>[0]
  const ears = { live: createLive({ subscriber }), prefix: store.prefix } as Parameters<
    typeof wakeDelivery
  >[1]
  wakeDelivery(deps, ears, () => wakes++, closers)
  /** How many workers hear that a webhook of the tenant is due. */
  const tell = (name: string) => store.redis.publish(webhookChannel(tenantRoot(store.prefix, name)), '1')
  await until(async () => (await tell('first')) === 1)
  expect(await tell('second')).toBe(0)

  live.replace(parseTestConfig({ tenants: { ...tenant('first'), ...tenant('second') } }))
  await until(async () => (await tell('second')) === 1)
  const before = wakes
  expect(await tell('second')).toBe(1)
  await until(() => wakes > before)

  live.replace(parseTestConfig({ tenants: tenant('first') }))
  await until(async () => (await tell('second')) === 0)
  expect(await tell('first')).toBe(1)
})
