import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { createAtRest } from '../../../jobs/at-rest.ts'
import { createSealer, type Sealer } from '../../../lib/sealer.ts'
import { keysOf } from '../../helpers/redis.ts'
import {
  collect,
  complete,
  eventsOf,
  failure,
  jobError,
  newJob,
  openTestStore,
  read,
  submit,
  success,
  TENANT,
  type TestStore,
  until,
} from '../../helpers/store.ts'

const oldKey = Buffer.alloc(32, 1)
const newKey = Buffer.alloc(32, 2)
const canary = 'canary-of-the-prompt'
const answer = { answer: 'canary-of-the-answer' }
const signal = new AbortController().signal

/** A store that encrypts, with a Redis of its own, and the values that could not be read. */
async function open(...keys: Buffer[]): Promise<TestStore & { sealer: Sealer; unreadable: string[] }> {
  const sealer = createSealer({ keys: keys.length > 0 ? keys : [oldKey], now: Date.now })
  const unreadable: string[] = []
  const atRest = createAtRest({
    sealer,
    onUnreadable: (error, id) => unreadable.push(`${id}: ${error.message}`),
  })
  return { ...(await openTestStore({ own: true, atRest })), sealer, unreadable }
}

/** Another process with other keys, over the same store. */
function viewWith(store: TestStore, ...keys: Buffer[]) {
  const atRest = createAtRest({ sealer: createSealer({ keys, now: Date.now }), onUnreadable() {} })
  return { jobs: store.openJobs({ atRest }), work: store.openWork({ atRest }) }
}

const hashOf = async (store: TestStore, id: string, field: string) =>
  (await store.redis.hgetBuffer(`${store.root}:job:${id}`, field))!

describe('with encryption', () => {
  it('neither prompt nor answer is in the store: streamed, shared, kept, failed or requested again', async () => {
    const store = await open()
    const long = `${canary} ${'lorem ipsum '.repeat(1_000)}`
    for (const text of [canary, long]) {
      const fairKey = 'canary-of-an-end-user'
      const job = await submit(store, { idempotencyKey: `key-${text.length}`, fairKey }, text)
      expect(job.fair_key).toBe(fairKey)
      expect((await read(store, job.id)).fair_key).toBe(fairKey)
      const follower = await submit(store, {}, text)
      const running = await store.start()
      expect(running.claimed.body.messages).toEqual([{ role: 'user', content: text }])
      expect(await store.work.stream(running.claimed, [{ delta: 'canary-of-a-chunk' }, null])).toBe(true)
      await complete(store, running, { ...answer, text })
      const kept = await submit(store, {}, text)
      for (const [id, cache] of [
        [job.id, 'miss'],
        [follower.id, 'shared'],
        [kept.id, 'hit'],
      ] as const) {
        expect(await read(store, id)).toMatchObject({
          status: 'completed',
          cache,
          result: { ...answer, text },
        })
      }
      expect(kept.result).toEqual({ ...answer, text })
      const again = await store.jobs.create(newJob({ idempotencyKey: `key-${text.length}`, fairKey }, text))
      expect(again).toMatchObject({ kind: 'replayed', job: { id: job.id, result: { ...answer, text } } })
      const events = await collect((await store.jobs.follow(TENANT, job.id, '', signal))!.events)
      const chunks = events.filter(({ event }) => event === 'job.delta').map(({ data }) => data.chunk)
      expect(chunks).toEqual([{ delta: 'canary-of-a-chunk' }, null])
      expect(events.at(-1)!.data.job).toMatchObject({ result: { ...answer, text } })
    }

    const doomed = await submit(store, {}, `${canary} doomed`)
    const follower = await submit(store, {}, `${canary} doomed`)
    const { claimed, held } = await store.start()
    const error = { ...jobError, message: `Not ${canary}!`, provider_error: { message: canary, code: 'x' } }
    await store.work.fail(claimed, failure, error, false)
    await store.lane().acknowledge(held)
    for (const { id } of [doomed, follower]) expect((await read(store, id)).error).toEqual(error)
    expect(await store.jobs.redrive(TENANT, { errorCode: 'broken' }, { limit: 1 })).toMatchObject({
      retried: 1,
    })
    const retried = (await store.jobs.list(TENANT, { status: 'queued' }, 1)).data[0]!
    const past = (await store.jobs.follow(TENANT, retried.id, '', AbortSignal.timeout(200)))!.events
    const failed = (await collect(past)).find(({ event }) => event === 'job.failed')
    expect(failed?.data.job).toMatchObject({ status: 'failed', error })

    const dump = await store.dump()
    expect(dump).toContain(doomed.id)
    expect(dump).not.toMatch(/canary|lorem/)
    expect(store.unreadable).toEqual([])
  })

  it('a kept hash cannot be guessed: it is not that of the prompt', async () => {
    const plain = await openTestStore({
      atRest: createAtRest({ sealer: createSealer({ keys: [], now: Date.now }), onUnreadable() {} }),
    })
    const store = await open()
    const hashes = await Promise.all(
      [plain, store].map(async (one) => {
        const { id } = await submit(one, { idempotencyKey: 'key' }, 'yes')
        const fingerprint = await one.redis.hget(`${one.root}:idempotency:key`, 'fingerprint')
        return [String(await hashOf(one, id, 'hash')), fingerprint]
      }),
    )
    expect(new Set(hashes.flat()).size).toBe(4)
    for (const known of hashes[0]!) expect(await store.dump()).not.toContain(known)
  })

  it('no message that is published on the way has the answer in it', async () => {
    const store = await open()
    const listener = new Redis(store.url)
    const heard: string[] = []
    listener.on('pmessage', (_pattern, _channel, message: string) => heard.push(message))
    await listener.psubscribe('*')
    const job = await submit(store, { isAwaited: true, isShownLive: true }, canary)
    await store.redis.hset(`${store.root}:job:${job.id}`, 'reply', 'answers', 'live', '1')
    const running = await store.start()
    await store.work.stream(running.claimed, [{ delta: 'canary-of-a-chunk' }])
    await complete(store, running, answer)
    await until(() => heard.some((message) => message.includes('completed')))
    listener.disconnect()
    expect(heard.filter((message) => message.includes(job.id)).length).toBeGreaterThan(1)
    expect(heard.join('\n')).not.toContain('canary')
  })

  it('a worker writes the answer to disk in the form of the store', async () => {
    const store = await open()
    const job = await submit(store, {}, canary)
    const { claimed } = await store.start()
    const finishes = store.work.encode([{ claimed, end: success, result: answer, usage: null, costUsd: 0 }])
    for (const { args } of finishes) expect(args.map(String).join('\n')).not.toContain('canary')
    await store.work.restore(finishes)
    expect(await read(store, job.id)).toMatchObject({ status: 'completed', result: answer })
  })

  it('a value that was stored in plain text before is still read', async () => {
    const store = await openTestStore({
      own: true,
      atRest: createAtRest({ sealer: createSealer({ keys: [], now: Date.now }), onUnreadable() {} }),
    })
    const done = await submit(store, {}, 'done')
    await complete(store, await store.start(), answer)
    const key = { idempotencyKey: 'key' }
    const waiting = await submit(store, key, 'waiting')
    const { jobs, work } = viewWith(store, oldKey)
    expect((await jobs.get(TENANT, done.id))?.result).toEqual(answer)
    expect(await jobs.create(newJob(key, 'waiting'))).toMatchObject({
      kind: 'replayed',
      job: { id: waiting.id },
    })
    expect(await jobs.create(newJob(key, 'other'))).toEqual({ kind: 'conflict' })
    const [started] = await work.start([await store.fetch()], {
      provider: 'sim',
      model: 'chat',
      coalesced: 1,
      waitedFor: null,
    })
    expect(started).toMatchObject({
      kind: 'run',
      claimed: { id: waiting.id, body: waiting && { messages: [{ content: 'waiting' }] } },
    })
  })
})

describe('a value that was changed in the store', () => {
  const damaged = expect.objectContaining({ code: 'undecryptable', retryable: false })

  it('is not shown: a result in the place of another, and its list is shown all the same', async () => {
    const store = await open()
    const [one, two] = [await submit(store, {}, 'one'), await submit(store, {}, 'two')]
    for (const text of ['a', 'b']) await complete(store, await store.start(), { answer: text })
    const key = `${store.root}:job:${one.id}`
    const [answer, other] = await Promise.all(
      [one, two].map(async ({ id }) => `${store.root}:answer:${await hashOf(store, id, 'hash')}`),
    )
    await store.redis.hset(answer!, 'text', (await store.redis.hgetBuffer(other!, 'text'))!)
    expect(await read(store, one.id)).toMatchObject({ status: 'completed', result: null, error: damaged })
    const reference = {
      hash: await hashOf(store, two.id, 'hash'),
      answer: await hashOf(store, two.id, 'answer'),
    }
    await store.redis.hset(key, reference)
    expect(await read(store, one.id)).toMatchObject({ result: null, error: damaged })
    const { data } = await store.jobs.list(TENANT, {}, 10, { withResults: true })
    expect(data.map(({ id, error }) => [id, error?.code ?? null])).toEqual([
      [two.id, null],
      [one.id, 'undecryptable'],
    ])
    expect(store.unreadable[0]).toMatch(`${one.id}: what is stored was changed`)
  })

  it('is not called for: a job with the body of another fails, and the next one runs', async () => {
    const store = await open()
    const [one, two] = [await submit(store, {}, 'one'), await submit(store, {}, 'two')]
    await store.redis.hset(`${store.root}:job:${one.id}`, 'body', await hashOf(store, two.id, 'body'))
    const intent = { provider: 'sim', model: 'chat', coalesced: 2, waitedFor: null }
    const held = [await store.fetch(), await store.fetch()]
    const started = await store.work.start(held, intent)
    expect(started.map(({ kind }) => kind)).toEqual(['done', 'run'])
    expect(await read(store, one.id)).toMatchObject({ status: 'failed', error: damaged, attempts: 1 })
    expect(await eventsOf(store, one.id)).toEqual(['job.queued', 'job.started', 'job.failed'])
  })

  it('of a tenant does not serve another', async () => {
    const store = await open()
    const one = await submit(store, {}, 'one')
    await complete(store, await store.start(), answer)
    const other = await store.jobs.create(newJob({ tenant: 'other' }, 'one'))
    if (other.kind !== 'created') throw new Error(other.kind)
    const key = `${store.root.replace(TENANT, 'other')}:job:${other.job.id}`
    const fields = await store.redis.hgetallBuffer(`${store.root}:job:${one.id}`)
    await store.redis.hset(key, { ...fields, cache: 'hit' })
    const [mine, others] = [store.root, store.root.replace(TENANT, 'other')].map(
      (root) => `${root}:answer:${fields.hash!.toString()}`,
    )
    await store.redis.hset(others!, await store.redis.hgetallBuffer(mine!))
    expect(await store.jobs.get('other', other.job.id)).toMatchObject({ result: null, error: damaged })
  })

  it('of a stream is left out, and the stream goes on', async () => {
    const store = await open()
    const { id } = await submit(store, {}, 'one')
    const running = await store.start()
    await store.work.stream(running.claimed, ['a', 'b'])
    const key = `${store.root}:job:${id}:events`
    const [, , first] = await store.redis.lrange(key, 0, -1)
    await store.redis.lset(key, 2, first!.replace('"attempt":1', '"attempt":2'))
    await complete(store, running, answer)
    const events = await collect((await store.jobs.follow(TENANT, id, '', signal))!.events)
    expect(events.flatMap(({ data }) => ('chunk' in data ? [data.chunk] : []))).toEqual([null, 'b'])
    expect(events.at(-1)?.data.job).toMatchObject({ result: answer })
  })
})

describe('rotation', () => {
  it('leaves earlier jobs, results and repeated requests unchanged, and uses the new key for new ones', async () => {
    const store = await open(oldKey)
    const done = await submit(store, { idempotencyKey: 'key' }, 'done')
    await complete(store, await store.start(), answer)
    const waiting = await submit(store, {}, 'waiting')
    const { jobs, work } = viewWith(store, newKey, oldKey)
    expect(await jobs.create(newJob({ idempotencyKey: 'key' }, 'done'))).toMatchObject({
      kind: 'replayed',
      job: { id: done.id, result: answer },
    })
    expect(await jobs.create(newJob({ idempotencyKey: 'key' }, 'else'))).toEqual({ kind: 'conflict' })
    const intent = { provider: 'sim', model: 'chat', coalesced: 1, waitedFor: null }
    const [started] = await work.start([await store.fetch()], intent)
    if (started?.kind !== 'run') throw new Error(started?.kind)
    await work.complete([{ claimed: started.claimed, end: null, result: answer, usage: null, costUsd: 0 }])
    expect(await jobs.get(TENANT, waiting.id)).toMatchObject({ result: answer, error: null })
    const { jobs: later } = viewWith(store, newKey)
    expect(await later.get(TENANT, waiting.id)).toMatchObject({ result: answer, error: null })
    expect(await later.get(TENANT, done.id)).toMatchObject({
      result: null,
      error: { code: 'undecryptable', retryable: true },
    })
  })

  it('a worker that does not know the key yet puts a new job back, uncounted, and fails an old one', async () => {
    const store = await open(newKey)
    const job = await submit(store, {}, 'new')
    const clock = { skewMs: 0 }
    const atRest = createAtRest({
      sealer: createSealer({ keys: [oldKey], now: Date.now }),
      onUnreadable() {},
    })
    const work = store.openWork({ atRest, now: () => Date.now() + clock.skewMs })
    const intent = { provider: 'sim', model: 'chat', coalesced: 1, waitedFor: null }
    const held = await store.fetch()
    const [started] = await work.start([held], intent)
    if (started?.kind !== 'wait') throw new Error(started?.kind)
    expect(started.at - Date.now()).toBeGreaterThan(4_000)
    expect(await read(store, job.id)).toMatchObject({ status: 'queued', attempts: 0 })
    await store.lane().delay(held, Date.now())
    await store.redis.hset(`${store.root}:job:${job.id}`, 'ready_at', Date.now() - 1)
    clock.skewMs = 10 * 60_000
    expect(await work.start([await store.fetch()], intent)).toEqual([{ kind: 'done' }])
    expect(await read(store, job.id)).toMatchObject({
      status: 'failed',
      error: { code: 'undecryptable', retryable: true },
    })
    // With the key it can be run after all.
    await store.lane().acknowledge(held)
    await store.jobs.retry(TENANT, job.id)
    expect((await store.start()).claimed.body.messages).toEqual([{ role: 'user', content: 'new' }])
  })

  it('a deleted job is gone, under any key of encryption', async () => {
    const store = await open(oldKey)
    const members = { type: 'embedding', body: { model: 'sim/chat', input: ['a', 'b'] } } as const
    const job = await submit(store, { ...members, body: { ...members.body, input: ['a', 'b'] } })
    const running = await store.start()
    const hashes = store.embeddingCache.hashesOf(running.claimed, 'sim/chat')!
    const vector = { data: [{ index: 0, embedding: 'AACAPw==' }] }
    await complete(store, running, vector)
    const items = hashes.map((hash) => ({ hash, result: vector, usage: null }))
    await store.embeddingCache.set(TENANT, [{ id: job.id, items }])
    expect((await store.embeddingCache.get(TENANT, hashes)).map((kept) => kept?.result)).toEqual([
      vector,
      vector,
    ])
    expect(await keysOf(store.redis, '*:answer:*')).toHaveLength(3)
    await viewWith(store, newKey, oldKey).jobs.remove(TENANT, job.id)
    expect(await keysOf(store.redis, '*:answer:*')).toEqual([])
    expect(await keysOf(store.redis, `*${job.id}*`)).toEqual([])
  })

  it('a kept answer that cannot be decrypted counts as none', async () => {
    const store = await open(oldKey)
    const job = await submit(store, { type: 'embedding', body: { model: 'sim/chat', input: ['a', 'b'] } })
    const running = await store.start()
    await complete(store, running, answer)
    await store.embeddingCache.set(TENANT, [
      { id: job.id, items: [{ hash: 'a', result: answer, usage: null }] },
    ])
    await store.redis.rename(`${store.root}:answer:a`, `${store.root}:answer:b`)
    expect(await store.embeddingCache.get(TENANT, ['a', 'b'])).toEqual([null, null])
  })
})
