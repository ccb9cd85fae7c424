import { describe, expect, it } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import { type EmbeddingCache, hashInputs } from '../../../jobs/embedding-cache.ts'
import type { Job } from '../../../jobs/job.ts'
import type { NewJob } from '../../../jobs/new-job.ts'
import type { JsonObject } from '../../../lib/json.ts'
import { unpackVector } from '../../../providers/vectors.ts'
import { keysOf } from '../../helpers/redis.ts'
import {
  eventsOf,
  newJob,
  openTestStore,
  submit,
  TENANT,
  type TestStore,
  until,
} from '../../helpers/store.ts'
import { EMBED_LANE, embedJob, ended, openWorkshop, submitMany, type WorkshopOptions } from './fixture.ts'

const OTHER_TENANT = 'other'

/** A workshop with workers, whose jobs run one after the other unless they are given together. */
async function openBench(
  options: WorkshopOptions & { embeddingCache?: (embeddingCache: EmbeddingCache) => EmbeddingCache } = {},
) {
  const workshop = await openWorkshop(options)
  const { store, simulator } = workshop
  if (options.embeddingCache) store.embeddingCache = options.embeddingCache(store.embeddingCache)
  await workshop.work()

  async function runAll(jobs: NewJob[]): Promise<Job[]> {
    const ids = await submitMany(store, jobs)
    return Promise.all(ids.map((id, index) => ended(store, id, jobs[index]!.tenant)))
  }
  /** How many inputs each provider call had since the last look. */
  let seen = 0
  function sent(): number[] {
    const calls = simulator.calls().slice(seen)
    seen += calls.length
    return calls.map(({ inputs }) => inputs)
  }
  const run = async (...job: Parameters<typeof embedJob>) => (await runAll([embedJob(...job)]))[0]!
  const gateState = () => workshop.gate.read(resolveLane(workshop.config, EMBED_LANE)!)
  return { ...workshop, run, runAll, sent, gateState }
}

const vectorsOf = (job: Job) =>
  (job.result!.data as { index: number; embedding: number[] | string }[]).map(({ index, embedding }, at) => {
    expect(index).toBe(at)
    return embedding
  })

const texts = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => `text number ${from + index}`)

const itemKeys = async (store: TestStore, tenant = TENANT) =>
  (await keysOf(store.redis, `${store.prefix}:{t:${tenant}}:answer:*`)).length

describe('an embedding job', () => {
  it('sends the inputs that are new, and pays for these', async () => {
    const { run, sent, simulator } = await openBench()
    const first = await run(texts(0, 9))
    const paid = simulator.state().billed_tokens
    // New ones in front, between and behind.
    const input = ['new a', ...texts(0, 4), 'new b', ...texts(4, 9), 'new c']
    const second = await run(input)
    expect(sent()).toEqual([9, 3])
    expect(second).toMatchObject({ status: 'completed', cache: 'miss', attempts: 1 })
    expect(second.usage!.input_tokens).toBe(simulator.state().billed_tokens - paid)
    expect(second.cost_usd).toBeCloseTo(second.usage!.input_tokens / 1e6, 12)

    const alone = await run(input, { cache: 'off' })
    expect(vectorsOf(second)).toEqual(vectorsOf(alone))
    expect(vectorsOf(second).slice(1, 5)).toEqual(vectorsOf(first).slice(0, 4))
  })

  it('makes no call when all inputs are known, and gives its permit back unspent', async () => {
    const { run, sent, store, gateState } = await openBench({
      limits: '{ requests_per_minute: 600, tokens_per_minute: 60000, max_concurrency: 1 }',
    })
    await run(texts(0, 9))
    const before = await gateState()
    const job = await run(texts(2, 7).reverse())
    expect(sent()).toEqual([9])
    const usage = { input_tokens: 0, output_tokens: 0, total_tokens: 0 }
    expect(job).toMatchObject({ status: 'completed', cache: 'hit', attempts: 0, usage, cost_usd: 0 })
    expect(job.result).toMatchObject({ object: 'list', usage: { prompt_tokens: 0, total_tokens: 0 } })
    expect(await store.jobs.attempts(TENANT, job.id)).toEqual([])
    expect(await eventsOf(store, job.id)).toEqual(['job.queued', 'job.started', 'job.completed'])

    await until(async () => (await gateState()).inFlight === 0)
    const after = await gateState()
    expect(after.used).toEqual(before.used)
    expect(after.taken.requests - after.refunded.requests).toBe(1)
    // The whole answer is kept now, and the next such job needs no worker.
    const again = await submit(store, embedJob(texts(2, 7).reverse()))
    expect(again).toMatchObject({ status: 'completed', cache: 'hit' })
    expect(vectorsOf(again)).toEqual(vectorsOf(job))
  })

  it('that needs no call may be stored twice, if an answer of the store is lost', async () => {
    const { run, store, errors } = await openBench({
      disturb: (work) => {
        let answers = 0
        return {
          ...work,
          async complete(completions) {
            await work.complete(completions)
            if (++answers === 2) throw new Error('Command timed out')
          },
        }
      },
    })
    await run(['a', 'b'])
    const job = await run(['b', 'a'])
    await until(async () => (await store.queues.backlog(EMBED_LANE)).active === 0)
    expect(errors).toContain('storing results: Error: Command timed out')
    expect((await store.jobs.get(TENANT, job.id))!).toMatchObject({ attempts: 0, cache: 'hit' })
    expect(await store.jobs.attempts(TENANT, job.id)).toEqual([])
  })

  it('books what was sent, not its estimate', async () => {
    const { run, gateState, simulator } = await openBench({
      limits: '{ requests_per_minute: 600, tokens_per_minute: 60000 }',
    })
    await run(texts(0, 9))
    await run([...texts(0, 9), 'new'])
    await until(async () => (await gateState()).inFlight === 0)
    expect((await gateState()).used).toMatchObject({
      requests: 2,
      tokens: simulator.state().billed_tokens,
    })
  })

  it('sends an input once that it contains several times', async () => {
    const { run, sent } = await openBench()
    const job = await run(['a', 'b', 'a', 'a', 'b'])
    expect(sent()).toEqual([2])
    const [a, b, ...others] = vectorsOf(job)
    expect(a).not.toEqual(b)
    expect(others).toEqual([a, a, b])
  })

  it('of one input finds the vectors of a list, before any worker', async () => {
    const { run, store, sent } = await openBench()
    const list = await run(['one', 'two', 'three'])
    for (const input of ['two', ['two']]) {
      const job = await submit(store, embedJob(input))
      expect(job).toMatchObject({ status: 'completed', cache: 'hit', cost_usd: 0 })
      expect(vectorsOf(job)).toEqual([vectorsOf(list)[1]])
    }
    expect(sent()).toEqual([3])
  })

  it('of a list finds what jobs of one input left', async () => {
    const { runAll, run, sent } = await openBench()
    const singles = await runAll([embedJob('one'), embedJob(['two'])])
    sent()
    const list = await run(['two', 'three', 'one'])
    expect(sent()).toEqual([1])
    const [two, , one] = vectorsOf(list)
    expect([one, two]).toEqual(singles.flatMap(vectorsOf))
  })

  it('takes token arrays as it takes texts', async () => {
    const { run, sent } = await openBench()
    const first = await run([[1, 2], [3]])
    const second = await run([[3], [4], [1, 2]])
    expect(sent()).toEqual([2, 1])
    expect(vectorsOf(second)[2]).toEqual(vectorsOf(first)[0])
    expect((await run(['3', '1,2'])).cache).toBe('miss')
  })

  it('gets its vectors in the requested format, known or new', async () => {
    const { run } = await openBench()
    const floats = vectorsOf(await run(['a', 'b'], {}, { encoding_format: 'float' }))
    const mixed = vectorsOf(await run(['c', 'b', 'a'], {}, { encoding_format: 'base64' }))
    expect(mixed.every((vector) => typeof vector === 'string')).toBe(true)
    expect([mixed[2], mixed[1]].map((vector) => unpackVector(vector as string))).toEqual(floats)
    const known = vectorsOf(await run(['b', 'c'], {}, { encoding_format: 'float' }))
    expect(known).toEqual([floats[1], unpackVector(mixed[0] as string)])
  })

  it('finds nothing of a job whose other members differ', async () => {
    const { run, sent } = await openBench()
    await run(['a', 'b'])
    await run(['a', 'b', 'c'], {}, { dimensions: 5 })
    await run(['a', 'b', 'c'], {}, { user: 'someone' })
    expect(sent()).toEqual([2, 3, 3])
  })

  it('finds under an alias what its lane answered, under any name', async () => {
    const { run, sent } = await openBench()
    await run(['a', 'b'])
    const job = await run(['b', 'c'], { model: 'alias' }, { model: 'alias' })
    await run('c', { model: 'alias' }, { model: 'alias' })
    expect(job.cache).toBe('miss')
    expect(sent()).toEqual([2, 1])
  })

  it('with the cache off neither reads nor writes anything, and is sent unchanged', async () => {
    const { run, sent, store } = await openBench()
    await run(['a', 'b', 'a'], { cache: 'off' })
    expect(await itemKeys(store)).toBe(0)
    await run(['a', 'b'])
    expect(await run(['a', 'b'], { cache: 'off' })).toMatchObject({ cache: 'off', attempts: 1 })
    expect(sent()).toEqual([3, 2, 2])
  })

  it('that refreshes sends all inputs again, and others find the new vectors', async () => {
    const { run, sent, store } = await openBench()
    await run(['a', 'b'])
    const [hash] = store.atRest.digests(hashInputs(EMBED_LANE, embedJob('a').body)![0]!)
    const key = `${store.root}:answer:${hash}`
    await store.redis.hset(key, 'until', Date.now() + 1000)
    await run(['a', 'b', 'a'], { cache: 'refresh' })
    expect(sent()).toEqual([2, 2])
    const left = await store.redis.pttl(key)
    expect(left).toBeGreaterThan(store.settings.cacheTtlMs - 10_000)
    expect(left).toBeLessThanOrEqual(store.settings.cacheTtlMs)
    expect(await run(['b', 'a'])).toMatchObject({ cache: 'hit' })
  })

  it('keeps no answer longer than the vectors that it was put together from', async () => {
    const { run, store } = await openBench()
    await run(['a', 'b'])
    const [a] = store.atRest.digests(hashInputs(EMBED_LANE, embedJob('a').body)![0]!)
    await store.redis.hset(`${store.root}:answer:${a}`, 'until', Date.now() + 20_000)
    const job = await run(['b', 'a', 'new'])
    const hash = await store.redis.hget(`${store.root}:job:${job.id}`, 'hash')
    const left = Number(await store.redis.hget(`${store.root}:answer:${hash}`, 'until')) - Date.now()
    expect(left).toBeGreaterThan(10_000)
    expect(left).toBeLessThanOrEqual(20_000)
  })

  it('leaves none of its vectors in the store when it is deleted', async () => {
    const { run, store, sent } = await openBench()
    const job = await run(['a', 'b'])
    expect(await itemKeys(store)).toBe(3)
    await store.jobs.remove(TENANT, job.id)
    expect(await itemKeys(store)).toBe(0)
    await run(['a', 'b'])
    expect(sent()).toEqual([2, 2])
  })

  it('leaves nothing before it is completed, nor when it is gone', async () => {
    const store = await openTestStore()
    const job = await submit(store, newJob())
    const bought = [{ id: job.id, items: [{ hash: 'h', result: { data: [] }, usage: null }] }]
    await store.embeddingCache.set(TENANT, bought)
    expect(await itemKeys(store)).toBe(0)
    await store.jobs.remove(TENANT, job.id)
    await store.embeddingCache.set(TENANT, bought)
    expect(await itemKeys(store)).toBe(0)
  })

  it('keeps whole answers alone where the configuration says so', async () => {
    const { run, sent, store } = await openBench({ store: { embeddingItems: false } })
    await run(['a', 'b', 'a'])
    expect(await itemKeys(store)).toBe(1)
    await run(['a', 'c'])
    expect(sent()).toEqual([2, 2])
  })

  it('is sent whole when the store cannot say which inputs are known', async () => {
    const { run, sent, errors } = await openBench({
      embeddingCache: (cache) => ({ ...cache, get: () => Promise.reject(new Error('LOADING')) }),
    })
    await run(['a', 'b'])
    expect((await run(['b', 'c'])).status).toBe('completed')
    expect(sent()).toEqual([2, 2])
    expect(errors).toContain('reading cached vectors: Error: LOADING')
  })

  it('is completed though its vectors cannot be kept', async () => {
    const { run, errors } = await openBench({
      embeddingCache: (cache) => ({ ...cache, set: () => Promise.reject(new Error('OOM')) }),
    })
    expect((await run(['a', 'b'])).status).toBe('completed')
    await until(() => errors.includes('caching vectors: Error: OOM'))
  })
})

describe('embedding jobs that share a request', () => {
  it('of different tenants are each charged for their own, and see nothing of one another', async () => {
    const { store, simulator, work } = await openWorkshop()
    await store.maintenance.register([OTHER_TENANT])
    const jobs = [
      embedJob(['public a', 'public b', 'own one']),
      embedJob(['public a', 'public b', 'a much longer text of the other tenant'], { tenant: OTHER_TENANT }),
    ]
    const ids = await submitMany(store, jobs)
    await work()
    const [mine, theirs] = await Promise.all(ids.map((id, at) => ended(store, id, jobs[at]!.tenant)))
    // One request, in which nothing is shared between the two.
    expect(simulator.calls().map(({ inputs }) => inputs)).toEqual([6])
    expect(mine!.usage!.input_tokens + theirs!.usage!.input_tokens).toBe(simulator.state().billed_tokens)
    expect(theirs!.usage!.input_tokens).toBeGreaterThan(mine!.usage!.input_tokens)
    for (const job of [mine!, theirs!]) {
      expect(job.cost_usd).toBeCloseTo(job.usage!.input_tokens / 1e6, 12)
      expect(job.cache).toBe('miss')
    }
    expect(vectorsOf(mine!).slice(0, 2)).toEqual(vectorsOf(theirs!).slice(0, 2))

    // The vectors of one tenant do not serve another.
    const [late] = await submitMany(store, [embedJob(['own one', 'x'], { tenant: OTHER_TENANT })])
    expect((await ended(store, late!, OTHER_TENANT)).cache).toBe('miss')
    expect(simulator.calls().at(-1)!.inputs).toBe(2)
    expect(await store.jobs.get(OTHER_TENANT, ids[0]!)).toBeNull()
  })

  it('of one tenant buy what several of them want once', async () => {
    const { store, simulator, work } = await openWorkshop()
    const ids = await submitMany(store, [
      embedJob(['a', 'b', 'c']),
      embedJob(['c', 'a']),
      embedJob(['c', 'd']),
    ])
    await work()
    const jobs = await Promise.all(ids.map((id) => ended(store, id)))
    expect(simulator.calls().map(({ inputs }) => inputs)).toEqual([4])
    expect(jobs.map(({ cache }) => cache)).toEqual(['miss', 'shared', 'miss'])
    expect(jobs[1]).toMatchObject({ usage: { input_tokens: 0 }, cost_usd: 0 })
    const [a, , c] = vectorsOf(jobs[0]!)
    expect(vectorsOf(jobs[1]!)).toEqual([c, a])
  })

  it('never differ in any member but the input', async () => {
    const { store, simulator, work } = await openWorkshop()
    const variants: JsonObject[] = [{}, { dimensions: 5 }, { user: 'u' }, { input_type: 'query' }]
    const jobs = variants.flatMap((further) =>
      texts(0, 3).map((text, index) =>
        embedJob(
          `${text} ${JSON.stringify(further)}`,
          {},
          {
            ...further,
            encoding_format: index % 2 ? 'base64' : 'float',
          },
        ),
      ),
    )
    const ids = await submitMany(store, jobs)
    await work()
    const ends = await Promise.all(ids.map((id) => ended(store, id)))
    expect(simulator.calls().map(({ inputs }) => inputs)).toEqual([3, 3, 3, 3])
    const lengths = ends.map((job, index) => {
      const [vector] = vectorsOf(job)
      expect(typeof vector).toBe(index % 3 === 1 ? 'string' : 'object')
      return (typeof vector === 'string' ? unpackVector(vector) : vector!).length
    })
    expect(lengths).toEqual([4, 4, 4, 5, 5, 5, 4, 4, 4, 4, 4, 4])
  })

  it('are neither held up nor failed by a poisoned one, known inputs or not', async () => {
    const { run, runAll, sent } = await openBench()
    await run(texts(0, 4))
    sent()
    const [all, poisoned, part] = await runAll([
      embedJob(texts(0, 4).reverse()),
      embedJob(['text number 1', '[[poison]]', 'new one']),
      embedJob(['text number 2', 'new one', 'new two']),
    ])
    expect(all).toMatchObject({ status: 'completed', cache: 'hit', attempts: 0 })
    expect(poisoned).toMatchObject({ status: 'failed', error: { provider_status: 400, retryable: false } })
    expect(part).toMatchObject({ status: 'completed', cache: 'miss', attempts: 1 })
    expect(vectorsOf(part!)).toHaveLength(3)
    expect(sent()).toEqual([2])
  })

  it('go at once when they come alone, and gather while another request is under way', async () => {
    const { store, simulator, run } = await openBench({ simulator: { latencyMs: 800 } })
    const alone = await run('alone')
    const [attempt] = (await store.jobs.attempts(TENANT, alone.id))!
    // 50 ms of max_wait; the rest is for a busy machine.
    expect(attempt!.waited_ms).toBeLessThan(3000)

    const [first] = await submitMany(store, [embedJob('first')])
    await until(() => simulator.state().in_flight === 1)
    const others: string[] = []
    for (const text of texts(0, 3)) {
      others.push(...(await submitMany(store, [embedJob(text)])))
      // More than max_wait apart.
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    for (const id of [first!, ...others]) await ended(store, id)
    expect(simulator.calls().map(({ inputs }) => inputs)).toEqual([1, 1, 3])
  })
})
