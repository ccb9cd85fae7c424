/** What of a host may still be claimed, as webhooks/store.ts asks for it. */
type HostLimits = { perHost: number; inHand: ReadonlyMap<string, number> }

export type WebhookSlots = {
  /** How many more deliveries of this tenant may be taken in hand. */
  free(tenant: string): number
  /** The same for each host, within what the tenant may take. */
  hosts(tenant: string): HostLimits
  /** Takes one in hand; answers what gives it back. */
  take(tenant: string, host: string): () => void
}

/**
 * Shares the deliveries in hand among tenants, so that receivers that do not answer hold up only those who named them. A tenant
 * may take half of what is left after all took theirs: one alone gets `perTenant` of twice as many, and always leaves as
 * many for others; several share. One is each tenant's whatever others hold, and so is one for each host.
 */
export function createWebhookSlots(most: { perTenant: number; perHost: number }): WebhookSlots {
  const byTenant = createCount()
  const byHost = createCount()
  const byBoth = createCount()
  let total = 0

  const keyOf = (tenant: string, host: string) => JSON.stringify([tenant, host])

  return {
    free: (tenant) => share(most.perTenant, total, byTenant.get(tenant)),
    hosts(tenant) {
      const inHand = new Map<string, number>()
      for (const host of byHost.names()) {
        const free = share(most.perHost, byHost.get(host), byBoth.get(keyOf(tenant, host)))
        inHand.set(host, most.perHost - free)
      }
      return { perHost: most.perHost, inHand }
    },
    take(tenant, host) {
      const names: [ReturnType<typeof createCount>, string][] = [
        [byTenant, tenant],
        [byHost, host],
        [byBoth, keyOf(tenant, host)],
      ]
      total++
      for (const [count, name] of names) count.add(name, 1)
      return () => {
        total--
        for (const [count, name] of names) count.add(name, -1)
      }
    },
  }
}

/** How many more may be taken, where each that is taken is one more of one's own and one less that is left. */
function share(most: number, taken: number, own: number): number {
  return Math.max(own === 0 ? 1 : 0, Math.floor((2 * most - taken - own) / 2))
}

function createCount() {
  const counts = new Map<string, number>()
  return {
    get: (name: string) => counts.get(name) ?? 0,
    names: () => counts.keys(),
    add(name: string, by: number): void {
      const left = (counts.get(name) ?? 0) + by
      if (left > 0) counts.set(name, left)
      else counts.delete(name)
    },
  }
}
