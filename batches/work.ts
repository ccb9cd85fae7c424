import type { Batch, BatchEnding, BatchFault, BatchLine, BatchStatus, Tally } from './batch.ts'
import { type BatchStoreDeps, readBatch } from './store.ts'

/** How long a lease lasts without a renewal, ms. A batch waits no longer than this after its worker died. */
const LEASE_MS = 15_000

/** How long the record of a batch is kept after its end, ms. */
const KEEP_MS = 30 * 24 * 60 * 60 * 1000

/** A batch that this process works on, as long as it holds the lease. */
export type HeldBatch = { tenant: string; id: string; token: string }

/** The state of a batch as its worker loads it. */
export type BatchProgress = {
  batch: Batch
  /** The byte offset of each block in the input; null: not validated yet. */
  layout: number[] | null
  /** Ids of the result files, which exist once they are sealed. */
  outputId: string
  errorId: string
  /** Blocks that are submitted but not written yet. */
  open: Map<number, BatchLine[]>
  /** Blocks that are written. */
  done: Set<number>
}

/** Another worker holds the batch and continues it. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError'
  override readonly message = 'another worker has this batch'
}

/** What workers do with batches. Methods that change one throw LeaseLostError if another worker holds it. */
export type BatchWork = {
  /** How long a lease lasts without a renewal, ms. */
  readonly leaseMs: number
  /** Ids of the tenant's batches that are not over, oldest first. */
  active(tenant: string): Promise<string[]>
  /** Null: another worker holds it. */
  claim(tenant: string, id: string, token: string): Promise<HeldBatch | null>
  renew(held: HeldBatch): Promise<void>
  release(held: HeldBatch): Promise<void>
  load(held: HeldBatch): Promise<BatchProgress | null>
  glance(held: HeldBatch): Promise<{ status: BatchStatus; ending: BatchEnding | null }>
  /** Stores that the input is valid. */
  begin(
    held: HeldBatch,
    found: { layout: number[]; total: number; model: string | null; outputId: string; errorId: string },
  ): Promise<void>
  open(held: HeldBatch, block: number, lines: BatchLine[]): Promise<void>
  /** `done`: the block's results are written, and the tally is final. */
  tally(held: HeldBatch, block: number, tally: Tally, done: boolean): Promise<void>
  /** Ends the batch early. The first call counts. False: by Redis' clock its window is not over. */
  abort(held: HeldBatch, ending: Exclude<BatchEnding, 'cancelled'>, errors: BatchFault[]): Promise<boolean>
  /** Marks that every block is written. Returns the time of the first call, Unix ms. */
  finalize(held: HeldBatch): Promise<number>
  /** Ends the batch. `failed`: the faults of an invalid input. */
  finish(
    held: HeldBatch,
    files: { outputFileId: string | null; errorFileId: string | null },
    failed?: BatchFault[],
  ): Promise<void>
}

export function createBatchWork(deps: BatchStoreDeps & { leaseMs?: number }): BatchWork {
  const { redis, scripts, root, leaseMs = LEASE_MS } = deps
  const keyOf = ({ tenant, id }: Pick<HeldBatch, 'tenant' | 'id'>) => `${root(tenant)}:batch:${id}`

  async function change(
    name: Exclude<Parameters<typeof scripts>[0], 'create' | 'cancel'>,
    { tenant, id, token }: HeldBatch,
    args: (string | number)[] = [],
  ): Promise<unknown> {
    const answer = await scripts(name, root(tenant), [token, id, ...args])
    if (answer === 0) throw new LeaseLostError()
    return answer
  }

  /** Holds the batch for so long from now, ms; 0 lets go of it. False: another holds it. */
  async function lease({ tenant, id, token }: HeldBatch, ms: number): Promise<boolean> {
    return (await scripts('lease', root(tenant), [token, id, ms])) !== 0
  }

  return {
    leaseMs,
    active: (tenant) => redis.zrange(`${root(tenant)}:batches:active`, '0', '-1'),

    async claim(tenant, id, token) {
      const taken = await redis.set(`${keyOf({ tenant, id })}:lease`, token, 'PX', leaseMs, 'NX')
      return taken === null ? null : { tenant, id, token }
    },
    async renew(held) {
      if (!(await lease(held, leaseMs))) throw new LeaseLostError()
    },
    async release(held) {
      await lease(held, 0)
    },

    async load(held) {
      const key = keyOf(held)
      const [batch, layout, ids, open, tallies] = await Promise.all([
        readBatch(deps, held.tenant, held.id),
        redis.get(`${key}:layout`),
        redis.hmget(key, 'output_id', 'error_id'),
        redis.hgetall(`${key}:open`),
        redis.hgetall(`${key}:tallies`),
      ])
      if (batch === null) return null
      const isDone = (text: string) => (JSON.parse(text) as { done?: boolean }).done === true
      const done = Object.keys(tallies).filter((block) => isDone(tallies[block]!))
      return {
        batch,
        layout: layout === null ? null : (JSON.parse(layout) as number[]),
        outputId: ids[0] ?? '',
        errorId: ids[1] ?? '',
        open: new Map(
          Object.entries(open).map(([block, lines]) => [Number(block), JSON.parse(lines) as BatchLine[]]),
        ),
        done: new Set(done.map(Number)),
      }
    },

    async glance(held) {
      const [status, ending] = await redis.hmget(keyOf(held), 'status', 'ending')
      if (!status) throw new LeaseLostError()
      return { status: status as BatchStatus, ending: (ending ?? null) as BatchEnding | null }
    },

    async begin(held, { layout, total, model, outputId, errorId }) {
      const fields = { total, model: model ?? '', output_id: outputId, error_id: errorId }
      await change('begin', held, [JSON.stringify(layout), ...Object.entries(fields).flat()])
    },
    async open(held, block, lines) {
      await change('open', held, [block, JSON.stringify(lines)])
    },
    async tally(held, block, tally, done) {
      await change('tally', held, [block, JSON.stringify({ ...tally, done })])
    },
    async abort(held, ending, errors) {
      return (await change('abort', held, [ending, JSON.stringify(errors)])) === 1
    },
    async finalize(held) {
      const [at] = (await change('finalize', held)) as [string]
      return Number(at)
    },
    async finish(held, { outputFileId, errorFileId }, failed) {
      await change('finish', held, [
        outputFileId ?? '',
        errorFileId ?? '',
        failed === undefined ? 'completed' : 'failed',
        failed === undefined ? '' : JSON.stringify(failed),
        KEEP_MS,
      ])
    },
  }
}
