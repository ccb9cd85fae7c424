import { tenantNames } from '../config/tenants.ts'
import { moveGroups } from '../jobs/group-names.ts'
import { tenantRoot, webhookChannel } from '../jobs/keys.ts'
import { repeat } from '../lib/repeat.ts'
import type { Closers } from './closers.ts'
import type { openStore, ServicesDeps } from './store.ts'

/** How often the tenants of a process are written to Redis, ms. A worker's sweeper does it every second. */
const LOOK_MS = 10_000

type Store = ReturnType<typeof openStore>

/**
 * Registers the tenants of the configuration for the sweepers of all processes: now, after a change of the configuration, and again in case
 * Redis started late, was emptied, or was unavailable at the change.
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

/** Wakes the delivery when a webhook of a tenant is due, including new tenants of the configuration. */
export function wakeDelivery(
  deps: ServicesDeps,
  store: Store,
  wake: (tenant?: string) => void,
  closers: Closers,
): void {
  listenToTenants(deps, store, webhookChannel, wake, closers)
}

/** Subscribes to a channel of every tenant, including new tenants of the configuration, for all of which it calls the listener at once. */
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

/** Moves groups that an earlier version stored under other keys, as soon as Redis is available. */
export function keepGroupsMoved(store: Store, closers: Closers): void {
  let isDone = false
  const move = async () => {
    if (!isDone) await moveGroups(store)
    isDone = true
  }
  const turns = repeat(LOOK_MS, move, (error) => store.onError(error, 'moving groups to their keys'))
  closers.add('the moving of groups', () => turns.stop())
}
