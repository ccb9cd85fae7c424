import type { Config } from '../config/schema.ts'
import type { RunTimeKey } from '../config/tenants.ts'
import { tenantSettings } from '../config/tenants-schema.ts'
import { repeat } from '../lib/repeat.ts'
import {
  createTenantRegistry,
  registryChannel,
  type Snapshot,
  type TenantRegistry,
} from '../tenants/registry.ts'
import type { Closers } from './closers.ts'
import type { openStore, ServicesDeps } from './store.ts'

/** Every process looks this often at what the API made, ms, in case a message is lost. */
const LOOK_MS = 1_500

/**
 * What was read last is trusted for so long, ms, from when it was asked for. A key that was revoked while this process cannot
 * reach Redis is thus refused within 5 s, too.
 */
const TRUSTED_MS = 4_500

/** A request with a key of the API waits this long for a look that is due, ms. */
const PATIENCE_MS = 1_000

export type FollowedRegistry = {
  registry: TenantRegistry
  /** The keys of the API as they were read last. */
  keys(): readonly RunTimeKey[]
  /** Called when the keys changed, until the returned function is called. */
  subscribe(listener: () => void): () => void
  /** Null: what is known is fresh. Else resolves when it is; rejects where Redis does not tell. */
  freshen(): Promise<void> | null
}

/** Keeps the tenants that the API made among those of the configuration, in this process, and their keys. */
export function followRegistry(
  { config }: ServicesDeps,
  store: Pick<ReturnType<typeof openStore>, 'redis' | 'prefix' | 'pubsub' | 'now' | 'onError'>,
  closers: Closers,
): FollowedRegistry {
  const { redis, prefix, now, onError } = store
  const registry = createTenantRegistry({ redis, prefix, now })
  const listeners = new Set<() => void>()
  let version: string | null = null
  let keys: readonly RunTimeKey[] = []
  let freshAt: number | null = null
  let looking: Promise<void> | null = null
  let isAskedAgain = false

  async function look(): Promise<void> {
    const askedAt = performance.now()
    const found = await registry.read(version)
    if (found !== null) take(found)
    freshAt = askedAt
  }

  function take(found: Snapshot): void {
    const tenants: Config['tenants'] = {}
    for (const { name, settings } of found.tenants.values()) {
      const parsed = tenantSettings.safeParse(settings)
      if (parsed.success) tenants[name] = { ...parsed.data, keys: [], admin: false }
      else onError(parsed.error, `reading the tenant ${name}`)
    }
    keys = [...found.keys.values()].filter(
      ({ tenant, tenantId }) => found.tenants.get(tenant)?.id === tenantId,
    )
    version = found.version
    config.addTenants(tenants)
    for (const listener of [...listeners]) listener()
  }

  /** One look at a time; what is announced during one is read by a further one. */
  function lookNow(): Promise<void> {
    if (looking !== null) {
      isAskedAgain = true
      return looking
    }
    looking = look().finally(() => {
      looking = null
      if (!isAskedAgain) return
      isAskedAgain = false
      lookNow().catch(() => {}) // the next look does it
    })
    return looking
  }

  const looks = repeat(LOOK_MS, lookNow, (error) => onError(error, 'reading the tenants of the API'))
  closers.add('the tenants of the API', () => looks.stop())
  const { leave } = store.pubsub.keepListening(registryChannel(prefix), () => {
    lookNow().catch(() => {}) // the next look does it
  })
  closers.add('the word of changed tenants', async () => leave())

  return {
    registry,
    // Of a name that the file has meanwhile, the file alone decides.
    keys: () => keys.filter(({ tenant }) => !Object.hasOwn(config.configured().tenants, tenant)),
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    freshen() {
      if (freshAt !== null && performance.now() - freshAt < TRUSTED_MS) return null
      return within(lookNow(), PATIENCE_MS)
    },
  }
}

/** Rejects after so many ms; what it waits for goes on. */
function within(task: Promise<void>, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
    task.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
