import { tenantNames } from '../config/tenants.ts'
import { moveGroups } from '../jobs/group-names.ts'
import { tenantRoot, webhookChannel } from '../jobs/keys.ts'
import { repeat } from '../lib/repeat.ts'
import type { Closers } from './closers.ts'
import type { openStore, ServicesDeps } from './store.ts'

/** The tenants of a process are looked for in Redis this often, ms. A worker's sweeper does it every second. */
const LOOK_MS = 10_000

type Store = ReturnType<typeof openStore>

/**
 * Keeps the tenants of the configuration known to the sweepers of all processes: now, after a change of the configuration, and
 * again where Redis came late, was emptied, or was away when the change came.
 */
export function keepTenants(
  { config }: ServicesDeps,
  { maintenance, onError }: Store,
  closers: Closers,
): void {
  const register = () =>
    maintenance
      .register(tenantNames(config.current()))
      .catch((error) => onError(error, 'registering tenants'))
  register()
  const leave = config.subscribe(register)
  const looks = repeat(LOOK_MS, maintenance.tenants, (error) => onError(error, 'registering tenants'))
  closers.add('the tenants', async () => {
    leave()
    await looks.stop()
  })
}

/** Wakes the delivery when a webhook of a tenant is due, also of one that came with a change of the configuration. */
export function wakeDelivery(
  deps: ServicesDeps,
  store: Store,
  wake: (tenant?: string) => void,
  closers: Closers,
): void {
  listenToTenants(deps, store, webhookChannel, wake, closers)
}

/** Listens to a channel of every tenant, also of those that come with a change of the configuration, of which all are woken. */
export function listenToTenants(
  { config }: ServicesDeps,
  { pubsub, prefix }: Store,
  channelOf: (root: string) => string,
  wake: (tenant?: string) => void,
  closers: Closers,
): void {
  const leaves = new Map<string, () => void>()
  const listen = () => {
    const names = new Set(tenantNames(config.current()))
    for (const [name, leave] of leaves) {
      if (names.has(name)) continue
      leave()
      leaves.delete(name)
    }
    for (const name of names) {
      if (leaves.has(name)) continue
      const channel = channelOf(tenantRoot(prefix, name))
      leaves.set(name, pubsub.keepListening(channel, () => wake(name)).leave)
    }
    wake()
  }
  listen()
  const leave = config.subscribe(listen)
  closers.add('the wake-ups of tenants', async () => leave())
}

/** Moves groups that an earlier version left under other keys, as soon as Redis is there. */
export function keepGroupsMoved(store: Store, closers: Closers): void {
  let isDone = false
  const move = async () => {
    if (!isDone) await moveGroups(store)
    isDone = true
  }
  const turns = repeat(LOOK_MS, move, (error) => store.onError(error, 'moving groups to their keys'))
  closers.add('the moving of groups', () => turns.stop())
}
