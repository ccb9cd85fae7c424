import { pino } from 'pino'
import { expect, it, onTestFinished } from 'vitest'
import { createLiveConfig } from '../../../config/watch.ts'
import { tenantRoot, webhookChannel } from '../../../jobs/keys.ts'
import { createPubSub } from '../../../jobs/pubsub.ts'
import { listMasters } from '../../../lib/masters.ts'
import { closeRedis, createRedis } from '../../../lib/redis.ts'
import { orCloseAll } from '../../../services/closers.ts'
import { wakeDelivery } from '../../../services/tenants.ts'
import { parseTestConfig } from '../../helpers/api.ts'
import { openTestStore, until } from '../../helpers/store.ts'

it('the delivery of webhooks is woken for a tenant that a change of the configuration added, until one removes it', async () => {
  const store = await openTestStore()
  const tenant = (name: string) => ({ [name]: { keys: [`key-of-${name}-0123456789`] } })
  const pubsub = createLiveConfig(parseTestConfig({ tenants: tenant('first') }))
  let wakes = 0
  const closers = await orCloseAll(pino({ level: 'silent' }), async (opened) => opened)
  onTestFinished(closers.closeAll)
  const subscriber = createRedis({ url: store.url, role: 'subscriber', name: 'test' })
  onTestFinished(() => closeRedis(subscriber))
  const deps = { config: pubsub } as Parameters<typeof wakeDelivery>[0]
  const ears = { pubsub: createPubSub({ subscriber }), prefix: store.prefix } as Parameters<
    typeof wakeDelivery
  >[1]
  wakeDelivery(deps, ears, () => wakes++, closers)
  /** How many workers hear that a webhook of the tenant is due, at any node of a cluster. */
  const tell = async (name: string) => {
    const channel = webhookChannel(tenantRoot(store.prefix, name))
    await store.redis.publish(channel, '1')
    const listeners = await Promise.all(
      listMasters(store.redis).map((node) => node.pubsub('NUMSUB', channel)),
    )
    return listeners.reduce((sum, [, count]) => sum + Number(count), 0)
  }
  await until(async () => (await tell('first')) === 1)
  expect(await tell('second')).toBe(0)

  pubsub.replace(parseTestConfig({ tenants: { ...tenant('first'), ...tenant('second') } }))
  await until(async () => (await tell('second')) === 1)
  const before = wakes
  expect(await tell('second')).toBe(1)
  await until(() => wakes > before)

  pubsub.replace(parseTestConfig({ tenants: tenant('first') }))
  await until(async () => (await tell('second')) === 0)
  expect(await tell('first')).toBe(1)
})
