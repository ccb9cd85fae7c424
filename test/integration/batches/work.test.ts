import { describe, expect, it } from 'vitest'
import { createBatchScripts } from '../../../batches/scripts.ts'
import { createBatches } from '../../../batches/store.ts'
import { createBatchWork, type HeldBatch, LeaseLostError } from '../../../batches/work.ts'
import { tenantRoot } from '../../../jobs/keys.ts'
import { createIds } from '../../../lib/job-id.ts'
import { keysOf } from '../../helpers/redis.ts'
import { openTestStore, TENANT } from '../../helpers/store.ts'

const DAY_MS = 86_400_000
const NO_FILES = { outputFileId: null, errorFileId: null }
const tally = {
  completed: 1,
  failed: 0,
  inputTokens: 3,
  cachedTokens: 0,
  outputTokens: 2,
  reasoningTokens: 0,
}
const found = { layout: [0], total: 1, model: null, outputId: 'file-out', errorId: 'file-err' }

/** A batch of one line that a worker has; `begun`: its line runs. */
async function holdBatch({ begun = true, windowMs = DAY_MS } = {}) {
  const { redis, prefix, root } = await openTestStore()
  const store = {
    redis,
    scripts: createBatchScripts(redis),
    root: (tenant: string) => tenantRoot(prefix, tenant),
  }
  const newId = createIds('batch_', Date.now)
  const batches = createBatches({ ...store, newId, wake: async () => {} })
  const work = createBatchWork(store)
  const request = {
    endpoint: '/v1/embeddings',
    inputFileId: 'file-1',
    completionWindow: '24h',
    metadata: null,
    outputExpiresAfter: null,
  } as const
  const outcome = await batches.create(TENANT, { ...request, windowMs }, null)
  if (outcome.kind === 'conflict') throw new Error('the key is taken')
  const { id } = outcome.batch
  const held = (await work.claim(TENANT, id, 'one'))!
  if (begun) {
    await work.begin(held, found)
    await work.open(held, 0, [{ customId: 'a', job: 'job_1' }])
  }
  /** The whole state of the batch, except for the rest of its lease. */
  const dump = async () => {
    const keys = (await keysOf(redis, `${root}:batch*`)).sort()
    return Promise.all(keys.map(async (key) => [key, await redis.dump(key)]))
  }
  return { work, held, dump, read: async () => (await batches.get(TENANT, id))!, redis, root }
}

type Step = (work: Awaited<ReturnType<typeof holdBatch>>['work'], held: HeldBatch) => Promise<unknown>

describe('a worker whose batch went to another', () => {
  const steps: [name: string, begun: boolean, step: Step][] = [
    ['renew it', true, (work, held) => work.renew(held)],
    ['begin it', false, (work, held) => work.begin(held, found)],
    ['open a block', true, (work, held) => work.open(held, 0, [])],
    ['count a block', true, (work, held) => work.tally(held, 0, tally, true)],
    ['end it early', true, (work, held) => work.abort(held, 'failed', [])],
    ['say that all is written', true, (work, held) => work.finalize(held)],
    ['finish it', true, (work, held) => work.finish(held, NO_FILES)],
  ]
  it.each(steps)('can not %s, and changes nothing', async (_, begun, step) => {
    const { work, held, dump, redis, root } = await holdBatch({ begun })
    await redis.del(`${root}:batch:${held.id}:lease`)
    expect(await work.claim(TENANT, held.id, 'another')).not.toBeNull()
    const before = await dump()
    await expect(step(work, held)).rejects.toBeInstanceOf(LeaseLostError)
    expect(await dump()).toEqual(before)
  })

  it('does not take the lease away from it when it lets go', async () => {
    const { work, held, redis, root } = await holdBatch()
    await redis.set(`${root}:batch:${held.id}:lease`, 'another')
    await work.release(held)
    expect(await redis.get(`${root}:batch:${held.id}:lease`)).toBe('another')
  })
})

it('the outcome of a block is final once its results are written', async () => {
  const { work, held, read } = await holdBatch()
  await work.tally(held, 0, { ...tally, completed: 0 }, false)
  await work.tally(held, 0, tally, true)
  await work.tally(held, 0, { ...tally, completed: 0, failed: 1 }, false)
  await work.tally(held, 0, { ...tally, failed: 5 }, true)
  await work.finish(held, NO_FILES)
  expect((await read()).tally).toMatchObject({ completed: 1, failed: 0 })
})

it('a batch does not expire before its window is over by the clock of Redis, even if its worker believes so', async () => {
  const { work, held, read } = await holdBatch()
  expect(await work.abort(held, 'expired', [])).toBe(false)
  expect(await work.glance(held)).toEqual({ status: 'in_progress', ending: null })
  await work.finish(held, NO_FILES)
  expect((await read()).status).toBe('completed')
})

it('an ended batch does not change', async () => {
  const { work, held, dump, redis, root } = await holdBatch()
  await work.finish(held, NO_FILES)
  await redis.set(`${root}:batch:${held.id}:lease`, held.token)
  const before = await dump()
  await work.open(held, 0, [])
  await work.tally(held, 0, tally, true)
  await work.abort(held, 'failed', [])
  await work.finish(held, NO_FILES, [])
  expect(await dump()).toEqual(before)
})
