/** How many deliveries each host may still get, in the form for webhooks/store.ts. */
type HostLimits = { perHost: number; inHand: ReadonlyMap<string, number> }

export type WebhookSlots = {
  /** How many more deliveries of this tenant may start. */
  free(tenant: string): number
  /** The same for each host, within the tenant's number. */
  hosts(tenant: string): HostLimits
  /** Takes a slot; returns a function that frees it. */
  take(tenant: string, host: string): () => void
}

/**
 * Shares delivery slots among tenants, so that a receiver that does not answer delays only the tenants that use it. A tenant may take as
 * many slots as stay free afterwards: alone it gets `perTenant` of the twice as many slots, and the rest stays free for others. Every
 * tenant always has one slot, and one for each host, even if others have taken all.
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

/** How many more may be taken, when each one adds one to the tenant's own and removes one from the free slots. */
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
