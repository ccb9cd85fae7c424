import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type BulkLine,
  type ClientOptions,
  type CreateJob,
  createClient,
  type Fetch,
  JobFailedError,
  SluiceError,
  type SluiceEvent,
} from '../../../client/index.ts'
import { createTestApi, type TestApi } from '../../helpers/api.ts'
import { until } from '../../helpers/store.ts'
import { collect, cutAfter } from './streams.ts'

let api: TestApi
let url: string
beforeEach(async () => {
  api = await createTestApi({ limits: { heartbeat: 30 } })
  url = await api.listen()
})
afterEach(() => api.close())

const retries = { attempts: 5, firstWaitMs: 5, longestWaitMs: 1_000 }
const open = (options: Partial<ClientOptions> = {}) => createClient({ url, retries, ...options })

let texts = 0
const chat = (members: Partial<BulkLine> = {}): CreateJob & BulkLine =>
  ({
    type: 'chat',
    body: { model: 'openai/small', messages: [{ role: 'user', content: `text ${++texts}` }] },
    ...members,
  }) as CreateJob & BulkLine

const seqs = (events: SluiceEvent[]) => events.map(({ data }) => data.seq)
const countTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1)

describe('submit', () => {
  it('answers the job, and each call makes one', async () => {
    const create = chat({ metadata: { of: 'mine' } })
    const [one, two] = [await open().submit(create), await open().submit(create)]
    expect(one).toMatchObject({ object: 'job', status: 'queued', metadata: { of: 'mine' } })
    expect(one.id).not.toBe(two.id)
  })

  it('makes one job though the answer is lost, and the same key gives the same job', async () => {
    let lost = 0
    const losing: Fetch = async (input, init) => {
      const response = await fetch(input, init)
      if (lost++ < 2) throw new TypeError('fetch failed')
      return response
    }
    const create = chat()
    const job = await open({ fetch: losing }).submit(create, { idempotencyKey: 'order-17' })
    expect(lost).toBe(3)
    expect((await collect(open().list())).map(({ id }) => id)).toEqual([job.id])
    expect(await open().submit(create, { idempotencyKey: 'order-17' })).toMatchObject({ id: job.id })
  })

  it('throws what the server says, where that is final', async () => {
    const refused = open().submit(chat({ body: { model: 'nobody/knows', messages: [{ role: 'user' }] } }))
    await expect(refused).rejects.toThrow(SluiceError)
    await expect(refused).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
      param: 'body.model',
      requestId: expect.stringMatching(/^request-/),
      retryAfterSeconds: null,
    })
  })

  it('sends its key, and the tenant to act as', async () => {
    let headers: RequestInit['headers']
    const fetch: Fetch = async (_input, init) => {
      headers = init?.headers
      return Response.json({})
    }
    await open({ fetch, key: 'a-key', tenant: 'acme' }).get('job_1')
    expect(headers).toEqual({ authorization: 'Bearer a-key', 'x-tenant': 'acme' })
  })
})

describe('wait and run', () => {
  it('answer when the job has ended', async () => {
    const running = open().run<{ answer: string }>(chat())
    await api.worker.complete(await api.worker.next(), { result: { answer: 'hi' } })
    expect((await running).answer).toBe('hi')
  })

  it('wait returns a failed job, and run throws it', async () => {
    const job = await open().submit(chat())
    await api.worker.finishFailed(job.id)
    expect(await open().wait(job.id)).toMatchObject({ id: job.id, status: 'failed' })
    const running = open()
      .run(chat())
      .catch((error: unknown) => error)
    await api.worker.fail(await api.worker.next())
    const error = await running
    expect(error).toBeInstanceOf(JobFailedError)
    expect(error).toMatchObject({
      message: 'boom: It broke.',
      job: { status: 'failed', error: { code: 'boom' } },
    })
  })

  it('wait ends when its time is up, and with its signal', async () => {
    const { id } = await open().submit(chat())
    await expect(open().wait(id, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'wait_timeout' })
    const leaving = new AbortController()
    const waiting = open().wait(id, { signal: leaving.signal })
    leaving.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
  })
})

describe('events', () => {
  const createLong = async () => {
    const { id } = await open().submit(chat())
    const running = await api.worker.start(id)
    for (let index = 0; index < 40; index++) await api.worker.stream(running, [{ text: `é ${index}` }])
    return { id, running }
  }

  it('come from the first to the last, live, typed by what happened', async () => {
    const { id, running } = await createLong()
    const types: string[] = []
    for await (const event of open().events(id)) {
      types.push(event.type)
      if (event.type === 'job.delta') expect(event.data.chunk.text).toMatch(/^é \d+$/)
      if (event.data.seq === 42) await api.worker.complete(running, { result: { ok: true } })
      if (event.type === 'job.completed') expect(event.data.job.result).toEqual({ ok: true })
    }
    expect(types).toEqual(['job.queued', 'job.started', ...Array(40).fill('job.delta'), 'job.completed'])
  })

  it('come once each though every connection breaks, at any place', async () => {
    const { id, running } = await createLong()
    await api.worker.complete(running)
    for (const bytes of [900, 1001, 1500]) {
      const cutting = cutAfter(bytes, '/events')
      expect(seqs(await collect(open({ fetch: cutting }).events(id)))).toEqual(countTo(43))
      expect(cutting.cuts).toBeGreaterThan(2)
    }
  })

  it('go on where another process stopped, of a group as well', async () => {
    const client = open()
    for (let index = 0; index < 3; index++) {
      await api.worker.finish((await client.submit(chat({ group: 'nightly' }))).id)
    }
    const all = await collect(client.events({ group: 'nightly' }))
    expect(seqs(all)).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3])
    const rest = await collect(open().events({ group: 'nightly' }, { after: all[4]!.id }))
    expect(rest).toEqual(all.slice(5))
    expect(await collect(client.events({ group: 'nightly' }, { after: all[8]!.id }))).toEqual([])
    expect(await client.group('nightly')).toMatchObject({ total: 3, counts: { completed: 3 } })
  })

  it('close the connection when nobody listens any more, and throw the reason of the signal', async () => {
    const { id } = await createLong()
    for await (const event of open().events(id)) if (event.data.seq === 3) break
    const leaving = new AbortController()
    const listen = async () => {
      for await (const event of open().events(id, { signal: leaving.signal })) {
        if (event.data.seq === 42) leaving.abort(new Error('enough'))
      }
    }
    await expect(listen()).rejects.toThrow('enough')
    const connections = () =>
      new Promise((resolve) => api.app.server.getConnections((_error, count) => resolve(count)))
    api.app.server.closeIdleConnections()
    await until(async () => (await connections()) === 0)
  })

  it('of a job that does not exist are an error', async () => {
    await expect(collect(open().events('job_nobody'))).rejects.toMatchObject({
      status: 404,
      code: 'not_found',
    })
  })
})

describe('steering and looking', () => {
  it('cancel answers the cancelled job any number of times, and throws for one that has ended otherwise', async () => {
    const client = open()
    const { id } = await client.submit(chat())
    expect(await client.cancel(id)).toMatchObject({ status: 'cancelled' })
    expect(await client.cancel(id)).toMatchObject({ status: 'cancelled' })
    expect(await client.retry(id)).toMatchObject({ status: 'queued' })
    await api.worker.finish(id)
    await expect(client.cancel(id)).rejects.toMatchObject({ code: 'not_cancellable', status: 409 })
    await expect(client.retry(id)).rejects.toMatchObject({ code: 'not_retryable', status: 409 })
    expect(await client.attempts(id)).toMatchObject([{ outcome: 'completed' }])
  })

  it('list goes through all pages, and requests no more than are read', async () => {
    const client = open()
    const ids: string[] = []
    for (let index = 0; index < 5; index++) ids.unshift((await client.submit(chat())).id)
    await api.worker.finish(ids[4]!)
    expect((await collect(client.list({ limit: 2 }))).map(({ id }) => id)).toEqual(ids)
    expect((await collect(client.list({ status: 'completed' }))).map(({ id }) => id)).toEqual([ids[4]])
    for await (const { id } of client.list({ limit: 1, after: ids[0]! })) {
      expect(id).toBe(ids[1])
      break
    }
  })
})

describe('the results of a list', () => {
  it('stay away unless they are requested, and then come whole, however large', async () => {
    const client = open()
    const group = `large-${Math.random()}`
    const ids: string[] = []
    // Two of them fill a page.
    for (let index = 0; index < 5; index++) {
      const { id } = await client.submit({ ...chat(), group, cache: 'off' })
      ids.unshift(id)
      await api.worker.finish(id, { result: { id, text: 'x'.repeat(1_900_000) } })
    }
    for (const job of await collect(client.list({ group }))) {
      expect(job).toMatchObject({ result: null, result_omitted: true })
    }
    const whole = await collect(client.list({ group, include: 'result', limit: 3 }))
    expect(whole.map(({ result }) => result?.id)).toEqual(ids)
    expect(whole.some((job) => job.result_omitted)).toBe(false)
  })
})

describe('a server whose store is away', () => {
  let own: TestApi
  beforeEach(async () => {
    own = await createTestApi({ own: true })
  })
  afterEach(() => own.close())

  it('gets the job when it is back', async () => {
    const url = await own.listen()
    const thaw = own.freeze()
    let refused = 0
    const counting: Fetch = async (input, init) => {
      const response = await fetch(input, init)
      if (response.status === 503 && ++refused === 1) thaw()
      return response
    }
    const client = createClient({ url, fetch: counting, retries: { ...retries, longestWaitMs: 5_000 } })
    expect(await client.submit(chat())).toMatchObject({ status: 'queued' })
    expect(refused).toBeGreaterThan(0)
    expect(await collect(client.list())).toHaveLength(1)
  })
})
