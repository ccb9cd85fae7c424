/**
 * Batches in Redis, for the API; work.ts is for the workers.
 *
 * All keys begin with the tenant's root, and have its hash tag:
 * - `<root>:batch:<id>`: hash, the record. Expires some time after the batch's end.
 * - `<root>:batch:<id>:layout`: string, JSON: the byte offset of each block in the input. Written once, with `in_progress`.
 * - `<root>:batch:<id>:open`: hash by block number: the jobs of its lines, from submission until the results are written.
 * - `<root>:batch:<id>:tallies`: hash by block number: the outcomes of its lines; `done` when final.
 * - `<root>:batch:<id>:lease`: string, the token of the worker that holds the batch.
 * - `<root>:batches`, `<root>:batches:active`: sorted sets of ids, in the order of creation.
 * - `<root>:batch-key:<key>`: hash, the batch that was created with an idempotency key.
 */
import { hash } from 'node:crypto'
import type { RedisClient } from '../lib/redis.ts'
import type { Batch, NewBatch } from './batch.ts'
import { toBatch, toFields, toOriginFields } from './record.ts'
import type { BatchScripts } from './scripts.ts'

/** How long an idempotency key is remembered. */
const IDEMPOTENCY_TTL_MS = 24 * 60 * 60 * 1000

export type BatchPage = { batches: Batch[]; hasMore: boolean }

/** What the API does with batches. A batch of another tenant is null, like one that does not exist. */
export type Batches = {
  create(
    tenant: string,
    batch: NewBatch,
    idempotencyKey: string | null,
  ): Promise<{ kind: 'created' | 'replayed'; batch: Batch } | { kind: 'conflict' }>
  get(tenant: string, id: string): Promise<Batch | null>
  /** Newest first. `after`: the id of the last batch of the previous page. */
  list(tenant: string, query: { limit: number; after: string | null }): Promise<BatchPage>
  /** The newest batches of all these tenants, up to the limit, and as many active ones; newest first. */
  recent(tenants: readonly string[], limit: number): Promise<Batch[]>
  /** `late`: it is over or finalizing. */
  cancel(tenant: string, id: string): Promise<{ kind: 'cancelling' | 'late'; batch: Batch } | null>
  /** Deletes the record of a batch that is over. Its files and jobs stay. `open`: it is not over. */
  remove(tenant: string, id: string): Promise<'removed' | 'open' | 'none'>
}

export type BatchStoreDeps = {
  redis: RedisClient
  scripts: BatchScripts
  /** Names a tenant's root key, hash tag included. */
  root: (tenant: string) => string
}

/** Pub/sub channel for the ids of batches with work to do. */
export function batchChannel(prefix: string): string {
  return `${prefix}:batches:wake`
}

export function createBatches(
  deps: BatchStoreDeps & {
    /** Makes ids `batch_…` that sort by creation. */
    newId: () => string
    /** Called with the tenant before a batch is created. */
    announce?: (tenant: string) => void
    /** Wakes the workers. */
    wake: (id: string) => Promise<unknown>
  },
): Batches {
  const { redis, scripts, root, newId, wake } = deps
  const get = (tenant: string, id: string) => readBatch(deps, tenant, id)

  return {
    get,

    async create(tenant, batch, idempotencyKey) {
      const fields = toFields(batch)
      const fingerprint = hash('sha256', JSON.stringify(fields))
      const id = newId()
      deps.announce?.(tenant)
      const [kind, made] = (await scripts('create', root(tenant), [
        ...[id, idempotencyKey ?? '', fingerprint, IDEMPOTENCY_TTL_MS, batch.windowMs],
        ...fields,
        ...toOriginFields(batch),
      ])) as [string, string?]
      if (kind === 'conflict' || made === undefined) return { kind: 'conflict' }
      await tell(made)
      const created = await get(tenant, made)
      if (created === null) throw new Error('a batch that was just made is gone')
      return { kind: kind === 'replayed' ? 'replayed' : 'created', batch: created }
    },

    async list(tenant, { limit, after }) {
      const index = `${root(tenant)}:batches`
      const batches: Batch[] = []
      let from = after === null ? '+' : `(${after}`
      for (;;) {
        const ids = await redis.zrevrangebylex(index, from, '-', 'LIMIT', 0, limit + 1)
        for (const id of ids) {
          const batch = await get(tenant, id)
          if (batch === null) continue
          if (batches.length === limit) return { batches, hasMore: true }
          batches.push(batch)
        }
        if (ids.length <= limit) return { batches, hasMore: false }
        from = `(${ids.at(-1)}`
      }
    },

    async recent(tenants, limit) {
      const newest = async (index: 'batches' | 'batches:active') => {
        const found = await Promise.all(
          tenants.map(async (tenant) => {
            const key = `${root(tenant)}:${index}`
            const ids = await redis.zrevrangebylex(key, '+', '-', 'LIMIT', 0, limit)
            return ids.map((id) => [id, tenant] as const)
          }),
        )
        // Ids sort by creation.
        return found
          .flat()
          .sort(([one], [other]) => (one < other ? 1 : -1))
          .slice(0, limit)
      }
      const named = new Map((await Promise.all([newest('batches'), newest('batches:active')])).flat())
      const batches = await Promise.all([...named].map(([id, tenant]) => get(tenant, id)))
      return batches.filter((batch) => batch !== null).sort((one, other) => (one.id < other.id ? 1 : -1))
    },

    async cancel(tenant, id) {
      const kind = (await scripts('cancel', root(tenant), [id])) as string
      if (kind === 'none') return null
      if (kind === 'cancelling') await tell(id)
      const batch = await get(tenant, id)
      return batch && { kind: kind === 'late' ? 'late' : 'cancelling', batch }
    },

    remove: async (tenant, id) =>
      (await scripts('remove', root(tenant), [id])) as 'removed' | 'open' | 'none',
  }

  /** A lost message costs a second: workers also look by themselves. */
  async function tell(id: string): Promise<void> {
    await wake(id).catch(() => {})
  }
}

/** The current state of a batch; null when there is none. */
export async function readBatch(
  { redis, root }: Pick<BatchStoreDeps, 'redis' | 'root'>,
  tenant: string,
  id: string,
): Promise<Batch | null> {
  const key = `${root(tenant)}:batch:${id}`
  // One transaction, so that a batch that ends between the two reads is counted exactly once.
  const answers = (await redis.multi().hgetall(key).hgetall(`${key}:tallies`).exec()) ?? []
  const [fields, tallies] = answers.map(([error, value]) => {
    if (error) throw error
    return value as Record<string, string>
  })
  return fields?.status === undefined ? null : toBatch(tenant, id, fields, tallies ?? {})
}
