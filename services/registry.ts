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

/** How often every process reads what the API created, in case a message is lost, ms. */
const LOOK_MS = 1_500

/**
 * How long the last reading is trusted, ms, counted from its request. So a revoked key is refused within 5 s even by a process that cannot
 * reach Redis.
 */
const TRUSTED_MS = 4_500

/** How long a request with a key of the API waits for a due reading, ms. */
const PATIENCE_MS = 1_000

export type FollowedRegistry = {
  registry: TenantRegistry
  /** The keys of the API as last read. */
  keys(): readonly RunTimeKey[]
  /** Called when the keys change, until the returned function is called. */
  subscribe(listener: () => void): () => void
  /** Null: the last reading is recent. Otherwise resolves after a new one; rejects if Redis does not answer. */
  freshen(): Promise<void> | null
}

/** Keeps the tenants that the API created, and their keys, among those of the configuration in this process. */
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

  /** One reading at a time. An announcement during one causes another. */
  function lookNow(): Promise<void> {
    if (looking !== null) {
      isAskedAgain = true
      return looking
    }
    looking = look().finally(() => {
      looking = null
      if (!isAskedAgain) return
      isAskedAgain = false
      lookNow().catch(() => {}) // the next reading does it
    })
    return looking
  }

  const looks = repeat(LOOK_MS, lookNow, (error) => onError(error, 'reading the tenants of the API'))
  closers.add('the tenants of the API', () => looks.stop())
  const { leave } = store.pubsub.keepListening(registryChannel(prefix), () => {
    lookNow().catch(() => {}) // the next reading does it
  })
  closers.add('the word of changed tenants', async () => leave())

  return {
    registry,
    // If the file now has a tenant with the same name, only the file counts.
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

/** Rejects after this many ms; the task itself continues. */
function within(task: Promise<void>, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
    task.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
