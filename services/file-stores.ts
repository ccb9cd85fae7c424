import { resolve } from 'node:path'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { createFolderStore } from '../files/folder-store.ts'
import { FileStoreError, type ObjectStore, type ObjectStoreKind } from '../files/object-store.ts'
import type { ObjectStores } from '../files/objects.ts'
import { createS3Store } from '../files/s3-store.ts'
import { readStoreId } from '../jobs/store-id.ts'
import type { RedisClient } from '../lib/redis.ts'
import type { FileStoreOperation } from '../telemetry/file-metrics.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Closers } from './closers.ts'
import { readProxy } from './proxy.ts'

/** A continuing fault is logged again after this, ms. */
const AGAIN_MS = 10 * 60_000

/** Opens the configured file stores, each with monitoring. Stores that new files do not use are opened for the files that are in them. */
export function openFileStores(
  deps: { config: () => Config; log: Logger; metrics: Pick<Metrics, 'files'> },
  { redis, prefix, now }: { redis: RedisClient; prefix: string; now: () => number },
  closers: Closers,
): ObjectStores {
  const { files } = deps.config()
  const watch = (store: ObjectStore, kind: ObjectStoreKind) => watchStore(store, kind, deps)
  const s3 = files.s3 === undefined ? null : createS3Store(files.s3, { proxy: readProxy(deps.config()), now })
  if (s3 !== null) closers.add('the connections to S3', () => s3.close())
  const folder = createFolderStore({ folder: resolve(files.folder) })
  return {
    current: files.store === 'folder' || files.store === 's3' ? files.store : null,
    stores: { folder: watch(folder, 'folder'), s3: s3 === null ? null : watch(s3, 's3') },
    storeId: () => readStoreId(redis, prefix),
  }
}

/**
 * Checks whether new files can be stored. A folder that this user may not use, or a bucket that does not exist, prevents the start. A store
 * that does not answer is only logged.
 */
export async function checkFileStore({ current, stores }: ObjectStores): Promise<void> {
  const store = current === null ? null : stores[current]
  await store?.check().catch((error: unknown) => {
    if (!(error instanceof FileStoreError)) throw error
    if (current === 'folder' && error.fault === 'refused') throw error
  })
}

/** Counts the operations of a store, and logs once when it fails and once when it works again. */
function watchStore(
  store: ObjectStore,
  kind: ObjectStoreKind,
  { log, metrics }: { log: Logger; metrics: Pick<Metrics, 'files'> },
): ObjectStore {
  let said: { message: string; at: number } | null = null

  function note(error: unknown): void {
    if (!(error instanceof FileStoreError)) return
    const time = performance.now()
    if (said?.message === error.message && time - said.at < AGAIN_MS) return
    said = { message: error.message, at: time }
    log.warn({ store: kind, fault: error.fault, err: error }, 'the store of files cannot be used')
  }

  async function measure<T>(
    operation: FileStoreOperation,
    run: () => Promise<T>,
    bytesOf: (answer: T) => number,
  ): Promise<T> {
    const begun = performance.now()
    const done = (hasFailed: boolean, bytes: number) =>
      metrics.files.onOperation({ store: kind, operation, hasFailed, ms: performance.now() - begun, bytes })
    try {
      const answer = await run()
      done(false, bytesOf(answer))
      if (said !== null) log.info({ store: kind }, 'the store of files can be used again')
      said = null
      return answer
    } catch (error) {
      // An error of the sender of a file is not a fault of the store.
      if (error instanceof FileStoreError || operation !== 'write') done(true, 0)
      note(error)
      throw error
    }
  }

  return {
    async write(name, content) {
      let bytes = 0
      async function* counted() {
        for await (const chunk of content) {
          bytes += chunk.length
          yield chunk
        }
      }
      await measure(
        'write',
        () => store.write(name, counted()),
        () => bytes,
      )
    },
    read: (name, from, length) =>
      measure(
        'read',
        () => store.read(name, from, length),
        (found) => found?.length ?? 0,
      ),
    remove: (name) =>
      measure(
        'remove',
        () => store.remove(name),
        () => 0,
      ),
    list: store.list,
    check: () =>
      measure(
        'check',
        () => store.check(),
        () => 0,
      ),
  }
}
