import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type ClientOptions, type CreateJob, createClient, type SluiceEvent } from '../../../client/index.ts'
import { acmeKey, chatJob, createTestApi, type TestApi, testTenants } from '../../helpers/api.ts'
import { testRedis } from '../../helpers/redis.ts'
import { startRelay } from '../../helpers/relay.ts'

let api: TestApi
let url: string
beforeAll(async () => {
  api = await createTestApi({ place: testRedis(), tenants: testTenants, limits: { heartbeat: 500 } })
  url = await api.listen()
})
afterAll(() => api.close())

const retries = { attempts: 5, firstWaitMs: 5, longestWaitMs: 1_000 }
const open = (options: Partial<ClientOptions> = {}) =>
  createClient({ url, key: acmeKey, retries, ...options })
function connect(options: Partial<ClientOptions> = {}) {
  const socket = open(options).socket()
  onTestFinished(() => socket.close())
  return socket
}

let texts = 0
const chat = (members: Record<string, unknown> = {}) => chatJob(members, `text ${++texts}`) as CreateJob

const short = ({ type, data }: { type: string; data: { job_id?: unknown; seq: number } }) =>
  `${data.job_id} ${data.seq} ${type}`
const told = (id: string, ...names: string[]) => names.map((name, at) => `${id} ${at + 1} job.${name}`)

async function take<Event>(events: AsyncGenerator<Event>, most: number): Promise<Event[]> {
  const found: Event[] = []
  while (found.length < most) {
    const { value, done } = await events.next()
    if (done) throw new Error(`ended after ${found.length}`)
    found.push(value)
  }
  return found
}

describe('events of everything', () => {
  it('come over the client, from now on or behind a cursor, narrowed', async () => {
    const before = await open().submit(chat())
    const events = open().events({ all: true, event: ['job.queued', 'job.completed'] }, { after: 'now' })
    const first = events.next()
    // The stream has begun when it reports its own job.
    const job = await (async () => {
      for (;;) {
        const made = await open().submit(chat())
        const heard = await Promise.race([
          first,
          new Promise<null>((resolve) => setTimeout(resolve, 200, null)),
        ])
        if (heard !== null) return made
      }
    })()
    expect((await first).value!.data.job_id).not.toBe(before.id)
    await api.worker.finish(job.id)
    for (;;) {
      const [event] = await take(events, 1)
      if (event!.type !== 'job.completed') continue
      expect(event!.data).toMatchObject({ job_id: job.id, job: { status: 'completed' } })
      const rest = open().events({ all: true }, { after: event!.id })
      const last = await open().submit(chat())
      expect(((await rest.next()).value as SluiceEvent).data.job_id).toBe(last.id)
      break
    }
    await events.return()
  })

  it('say that they are not kept that long', async () => {
    const { redis } = api
    await open().submit(chat())
    await redis.xtrim(`${api.root('acme')}:events`, 'MAXLEN', 1)
    await expect(open().events({ all: true }, { after: '1-0' }).next()).rejects.toMatchObject({
      code: 'events_expired',
      status: 410,
    })
    await expect(connect().events({ all: true }, { after: '1-0' }).next()).rejects.toMatchObject({
      code: 'events_expired',
    })
  })
})

describe('a socket of the client', () => {
  it('submits, and follows a job, a group and everything to their ends', async () => {
    const socket = connect()
    const job = await socket.submit(chat({ group: 'by-socket' }))
    const all = socket.events({ all: true, group: 'by-socket' })
    const [own, group] = [socket.events(job.id), socket.events({ group: 'by-socket' })]
    expect((await take(own, 1)).map(short)).toEqual(told(job.id, 'queued'))
    await api.worker.finish(job.id)
    expect((await Array.fromAsync(own)).map(short)).toEqual(
      told(job.id, 'queued', 'started', 'completed').slice(1),
    )
    expect((await Array.fromAsync(group)).map(short)).toEqual(told(job.id, 'queued', 'started', 'completed'))
    expect((await take(all, 3)).map(short)).toEqual(told(job.id, 'queued', 'started', 'completed'))
    socket.close()
    expect(await all.next()).toEqual({ done: true, value: undefined })
  })

  it('goes on over connections that break, and submits nothing twice', async () => {
    const relay = await startRelay(url)
    onTestFinished(() => relay.close())
    const socket = connect({ url: relay.url })
    const events = socket.events({ all: true, group: 'broken' })
    const jobs = []
    for (let at = 0; at < 5; at++) {
      jobs.push(await socket.submit(chat({ group: 'broken' }), { idempotencyKey: `broken-${at}` }))
      relay.cut()
      relay.mend()
    }
    for (const { id } of jobs) {
      await api.worker.finish(id)
      relay.cut()
      relay.mend()
    }
    const found = await take(events, 15)
    expect(new Set(found.map(({ id }) => id)).size).toBe(15)
    for (const { id } of jobs) {
      expect(found.map((event) => short(event)).filter((text) => text.startsWith(id))).toEqual(
        told(id, 'queued', 'started', 'completed'),
      )
    }
    expect((await open().group('broken')).total).toBe(5)
  })

  it('holds no more than a bound for a slow reader, who misses nothing', async () => {
    const members = {
      group: 'slow',
      body: { model: 'openai/small', stream: true, messages: [{ role: 'user', content: 'slow' }] },
    }
    const { id } = await open().submit(chat(members))
    const running = await api.worker.start(id)
    for (let block = 0; block < 30; block++) {
      await api.worker.stream(
        running,
        Array.from({ length: 100 }, (_, at) => ({ at: block * 100 + at })),
      )
    }
    await api.worker.complete(running)
    const socket = connect()
    const events = socket.events({ group: 'slow' })
    const [first] = await take(events, 1)
    // Another subscription of the same socket is not held up.
    expect(await Array.fromAsync(socket.events(id))).toHaveLength(3003)
    const rest = await Array.fromAsync(events)
    expect([first!, ...rest].map(({ data }) => data.seq)).toEqual(
      Array.from({ length: 3003 }, (_, at) => at + 1),
    )
  })

  it('throws what the server says, and why its key is refused', async () => {
    const socket = connect()
    await expect(socket.events('job_none').next()).rejects.toMatchObject({ code: 'not_found' })
    const create = {
      type: 'chat',
      body: { model: 'none/at-all', messages: [{ role: 'user', content: 'x' }] },
    } as CreateJob
    await expect(socket.submit(create)).rejects.toMatchObject({
      code: 'model_not_found',
      param: 'body.model',
    })
    const large = chatJob({}, 'x'.repeat(1024 * 1024)) as CreateJob
    await expect(socket.submit(large)).rejects.toMatchObject({ code: 'payload_too_large' })
    const wrong = connect({ key: 'wrong' })
    await expect(
      Promise.all([wrong.submit(chat()), wrong.events({ all: true }).next()]),
    ).rejects.toMatchObject({ code: 'unauthorized' })
    const leaving = new AbortController()
    const events = socket.events({ group: 'by-socket' }, { signal: leaving.signal, after: '9999999999999-0' })
    const next = socket.events({ all: true, group: 'nobody' }, { signal: leaving.signal }).next()
    leaving.abort(new Error('enough'))
    await expect(next).rejects.toThrow('enough')
    await expect(events.next()).rejects.toThrow('enough')
  })
})
