import { resolve } from 'node:path'
import { resolveTenant } from '../config/tenants.ts'
import { createEmbeddingCache } from '../jobs/embedding-cache.ts'
import { lockLease } from '../jobs/leases.ts'
import { createPromptPrefixes } from '../jobs/prompt-prefixes.ts'
import { readStoreId } from '../jobs/store-id.ts'
import { createWork } from '../jobs/work.ts'
import type { CallStore } from '../workers/call-store.ts'
import { checkSpoolFolder, type Spool, spoolLease, startSpool } from '../workers/spool.ts'
import type { Closers } from './closers.ts'
import { checkFileStore } from './file-stores.ts'
import type { MeteredDeps, openStore } from './store.ts'

/** Opens what the calls of a worker read and write, with the disk for results that Redis does not take. No call begins before Redis' time is known. */
export async function openCallStore(
  { config, log }: MeteredDeps,
  store: ReturnType<typeof openStore>,
  closers: Closers,
): Promise<{ callStore: CallStore; countSpooled: Spool['count'] }> {
  const { onError } = store
  const work = createWork({
    redis: store.redis,
    scripts: store.scripts,
    outbox: store.outbox,
    prefix: store.prefix,
    atRest: store.atRest,
    now: store.now,
    settings: () => ({
      retainMs: store.retainMs(),
      cacheTtlMs: config.current().cache.ttl,
      cacheMaxBytes: config.current().cache.max_result,
    }),
    budgetOf: (tenant) => resolveTenant(config.current(), tenant)?.limits.budget_usd_per_day ?? null,
    putFiles: store.heldFiles.put,
    fairKeyLimitsOf: (tenant) => resolveTenant(config.current(), tenant)?.perFairKey ?? null,
    events: store.emitter,
  })
  const prefixes = createPromptPrefixes({
    redis: store.redis,
    prefix: store.prefix,
    onError: (error, what) => log.warn({ err: error, what }, 'a prompt cache is not warmed'),
  })
  const embeddingCache = createEmbeddingCache({
    scripts: store.scripts,
    atRest: store.atRest,
    prefix: store.prefix,
    settings: () => {
      const { embedding_items, ttl, max_result } = config.current().cache
      return { isOn: embedding_items, ttlMs: ttl, maxBytes: max_result }
    },
  })
  const folder = resolve(config.current().worker.spool)
  await checkSpoolFolder(folder, onError)
  await checkFileStore(store.fileStores)
  const spool = startSpool({
    folder,
    storeId: () => readStoreId(store.redis, store.prefix),
    restore: work.restore,
    onError,
    leaseMs: spoolLease(lockLease(config.current().jobs.stalled_after)),
  })
  closers.add('the spool', () => spool.stop())
  let isClockKnown = false
  store.clock.known().then(() => {
    isClockKnown = true
  })
  const callStore: CallStore = {
    ...{ work, embeddingCache, prefixes, files: store.files, heldFiles: store.heldFiles },
    spool: { put: spool.put, isRecovering: () => !isClockKnown || spool.isRecovering() },
    isThere: store.watch.isThere,
  }
  return { callStore, countSpooled: spool.count }
}
