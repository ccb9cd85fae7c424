import type { Config } from '../config/schema.ts'
import { BUDGET_PREFIX, readBudgetEvent } from '../jobs/budget-events.ts'
import { withUnparsedResult } from '../jobs/job-result.ts'
import { tenantRoot } from '../jobs/keys.ts'
import type { ProxySettings } from '../lib/proxy.ts'
import { createAddressGuard } from '../webhooks/address-guard.ts'
import { createWebhookDelivery } from '../webhooks/deliverer.ts'
import { createWebhookSender } from '../webhooks/send.ts'
import type { Closers } from './closers.ts'
import type { MeteredDeps, openStore } from './store.ts'
import { wakeDelivery } from './tenants.ts'
import type { Traces } from './tracing.ts'

/** How often a worker checks the webhooks of all tenants, in case a message is lost, ms. */
const LOOK_AT_WEBHOOKS_MS = 600_000

/** Sends what the outboxes of webhooks have due. */
export function openWebhookDelivery(
  deps: MeteredDeps,
  store: ReturnType<typeof openStore>,
  { proxy, traces }: { proxy: ProxySettings | null; traces: Pick<Traces, 'sender'> },
  closers: Closers,
): void {
  const { config, log } = deps
  const sender = createWebhookSender({
    guard: createAddressGuard({
      allowPrivateAddresses: config.current().webhooks.allow_private_addresses,
      proxy,
    }),
    secrets: () => {
      const { secret } = config.current().webhooks
      return secret === undefined ? [] : [secret]
    },
    now: store.now,
    version: deps.version,
  })
  closers.add('the webhook sender', () => sender.close())
  const delivery = createWebhookDelivery(
    {
      store: store.webhooks,
      sender: traces.sender(sender),
      settings: () => ({
        schedule: config.current().webhooks.schedule,
        linkBase: linkBase(config.current()),
      }),
      tenants: store.maintenance.tenants,
      loadSubject: async ({ tenant, jobId: id, event }) => {
        if (id.startsWith('flow_')) return store.flows.get(tenant, id)
        if (id.startsWith(BUDGET_PREFIX))
          return readBudgetEvent(store.redis, tenantRoot(store.prefix, tenant), id, event)
        const job = await store.jobs.get(tenant, id)
        return job && withUnparsedResult(job)
      },
      log,
      now: store.now,
      events: store.emitter,
      onFailure: store.onFailure,
      isStoreThere: store.watch.isThere,
    },
    // The maintainer announces due work.
    { pollMs: LOOK_AT_WEBHOOKS_MS },
  )
  delivery.start()
  closers.add('webhook delivery', () => delivery.stop())
  wakeDelivery(deps, store, delivery.wake, closers)
}

function linkBase(config: Config): string {
  const { host, port, public_url } = config.server
  if (public_url !== undefined) return public_url
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
