import { request } from 'node:http'
import { createConnection } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { ClientOptions } from 'ws'
import {
  acmeKey,
  chatJob,
  createTestApi,
  opsKey,
  otherKey,
  type TestApi,
  testTenants,
} from '../../helpers/api.ts'
import { readStream } from '../../helpers/event-stream.ts'
import { testRedis } from '../../helpers/redis.ts'
import { until } from '../../helpers/store.ts'
import { type Message, openSocket } from '../../helpers/test-socket.ts'

let api: TestApi
let url: string
beforeAll(async () => {
  api = await createTestApi({
    place: testRedis(),
    tenants: testTenants,
    limits: { heartbeat: 700, socketAuthTimeout: 300, socketPatience: 300, socketBufferBytes: 64 * 1024 },
  })
  url = await api.listen()
})
afterAll(() => api.close())

const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

async function connect({
  key = acmeKey,
  at = url,
  ...options
}: Omit<ClientOptions, 'key'> & { key?: string | null; at?: string } = {}) {
  const headers = { ...options.headers, ...(key === null ? {} : bearer(key)) }
  const opened = await openSocket(`${at}/v1/ws`, { ...options, headers })
  onTestFinished(() => opened.socket.terminate())
  return opened
}

let count = 0
async function create(members: Record<string, unknown> = {}, key = acmeKey) {
  const payload = chatJob(members, `text ${++count}`)
  const answer = await api.app.inject({ method: 'POST', url: '/v1/jobs', headers: bearer(key), payload })
  return answer.json().id as string
}

const short = ({ type, id, event, data }: Message) => {
  const { job_id, seq } = (data ?? {}) as { job_id: string; seq: number }
  return type === 'event' ? `${id} ${job_id} ${seq} ${event}` : `${id} ${type}`
}
const told = (id: string, job: string, ...names: string[]) =>
  names.map((name, at) => `${id} ${job} ${at + 1} job.${name}`)
const codeOf = ({ error }: Message) => (error as { code: string }).code

describe('a socket', () => {
  it('follows a job, from its first event or behind a cursor, and reports its end', async () => {
    const job = await create()
    const one = await connect()
    one.send({ type: 'subscribe', id: 'a', job })
    expect((await one.take(1)).map(short)).toEqual(told('a', job, 'queued'))
    await api.worker.finish(job, { result: { text: 'x' } })
    const rest = await one.take(3)
    expect(rest.map(short)).toEqual([...told('a', job, 'queued', 'started', 'completed').slice(1), 'a end'])
    expect(rest[1]).toMatchObject({ cursor: '3', data: { job: { id: job, result: { text: 'x' } } } })
    one.send({ type: 'subscribe', id: 'a', job, after: '2' })
    expect((await one.take(2)).map(short)).toEqual([`a ${job} 3 job.completed`, 'a end'])
    one.send({ type: 'subscribe', id: 'a', job, after: '3' })
    expect((await one.take(1)).map(short)).toEqual(['a end'])
  })

  it('follows a group, and everything, by the cursors of the event streams', async () => {
    const group = 'sock'
    const first = await create({ group })
    const socket = await connect()
    socket.send({ type: 'subscribe', id: 'all', all: true, after: 'now' })
    const { cursor } = await socket.find(({ type }) => type === 'cursor')
    socket.send({ type: 'subscribe', id: 'group', group })
    await socket.find(({ type }) => type === 'event')
    await api.worker.finish(first)
    const messages = await socket.take(5)
    expect(messages.filter(({ id }) => id === 'all').map(short)).toEqual(
      told('all', first, 'queued', 'started', 'completed').slice(1),
    )
    expect(messages.filter(({ id }) => id === 'group').map(short)).toEqual([
      ...told('group', first, 'queued', 'started', 'completed').slice(1),
      'group end',
    ])
    const started = messages.find(({ id }) => id === 'all')!
    const stream = await readStream(`${url}/v1/events`, {
      headers: bearer(acmeKey),
      cursor: String(started.cursor),
    })
    onTestFinished(() => stream.close())
    expect(await stream.take(1)).toMatchObject([{ type: 'job.completed', data: { job_id: first } }])
    const again = await connect()
    again.send({ type: 'subscribe', id: 'b', all: true, after: cursor })
    expect((await again.take(2)).map(short)).toEqual(
      told('b', first, 'queued', 'started', 'completed').slice(1),
    )
  })

  it('follows a flow', async () => {
    const payload = { name: 'by-socket', steps: { one: { job: chatJob({}, 'a step') } } }
    const answer = await api.app.inject({
      method: 'POST',
      url: '/v1/flows',
      headers: bearer(acmeKey),
      payload,
    })
    const { id: flow } = answer.json()
    const socket = await connect()
    socket.send({ type: 'subscribe', id: 'f', flow })
    expect(await socket.next()).toMatchObject({
      type: 'event',
      id: 'f',
      cursor: '1',
      event: 'flow.started',
      data: { flow_id: flow },
    })
    await api.app.inject({ method: 'POST', url: `/v1/flows/${flow}/cancel`, headers: bearer(acmeKey) })
    await socket.find(({ event }) => event === 'flow.cancelled')
    expect(short(await socket.next())).toBe('f end')
  })

  it('lets a filter through, and says where to go on from where it lets nothing through', async () => {
    const socket = await connect()
    socket.send({
      type: 'subscribe',
      id: 'f',
      all: true,
      after: 'now',
      filter: { event: 'job.completed', group: 'filtered' },
    })
    const { cursor: before } = await socket.next()
    const [job, other] = [await create({ group: 'filtered' }), await create()]
    const { cursor } = await socket.find(({ type, cursor: at }) => type === 'cursor' && at !== before)
    expect(cursor).not.toBe(before)
    await api.worker.finish(job)
    await api.worker.finish(other)
    expect(short(await socket.find(({ type }) => type === 'event'))).toBe(`f ${job} 3 job.completed`)
  })

  it('takes jobs, each under its key once', async () => {
    const socket = await connect()
    const submit = {
      type: 'submit',
      id: 's',
      job: chatJob({ metadata: { n: '1' } }, 'by socket'),
      idempotency_key: 'sock-1',
    }
    socket.send(submit)
    const first = await socket.next()
    expect(first).toMatchObject({
      type: 'accepted',
      id: 's',
      job: { status: 'queued', metadata: { n: '1' } },
    })
    socket.send(submit)
    expect((await socket.next()).job).toMatchObject({ id: (first.job as { id: string }).id })
    socket.send({ ...submit, job: chatJob({}, 'another') })
    expect(await socket.next()).toMatchObject({
      type: 'error',
      id: 's',
      error: { code: 'idempotency_key_reused' },
    })
    socket.send({ ...submit, idempotency_key: '' })
    expect(await socket.next()).toMatchObject({
      type: 'error',
      id: 's',
      error: { code: 'invalid_request', param: 'Idempotency-Key' },
    })
  })

  it('passes a body on as it was written', async () => {
    const socket = await connect()
    const body =
      '{ "model": "openai/small", "messages": [{"role":"user","content":"exact"}], "seed": 12345678901234567890 }'
    socket.send(`{"type":"submit","id":"s","job":{"type":"chat","body":${body}}}`)
    const { id } = (await socket.next()).job as { id: string }
    const read = await api.app.inject({ url: `/v1/jobs/${id}/request`, headers: bearer(acmeKey) })
    expect(read.body).toContain('12345678901234567890')
  })

  it('ends a subscription that is closed, whose id is free then', async () => {
    const [job, next] = [await create(), await create()]
    const socket = await connect()
    socket.send({ type: 'subscribe', id: 'a', job })
    await socket.next()
    socket.send({ type: 'unsubscribe', id: 'a' })
    expect(short(await socket.next())).toBe('a end')
    await api.worker.finish(job)
    socket.send({ type: 'subscribe', id: 'a', job: next })
    expect(short(await socket.next())).toBe(`a ${next} 1 job.queued`)
  })
})

describe('the key of a socket', () => {
  it('may be the first message', async () => {
    const socket = await connect({ key: null })
    socket.send({ type: 'auth', key: acmeKey })
    socket.send({ type: 'subscribe', id: 'a', job: await create() })
    expect((await socket.next()).type).toBe('event')
    socket.send({ type: 'auth', key: acmeKey })
    expect(await socket.next()).toMatchObject({ type: 'error', id: null, error: { code: 'invalid_request' } })
  })

  it('may be an administrator’s, who acts as another', async () => {
    const job = await create()
    const socket = await connect({ key: null })
    socket.send({ type: 'auth', key: opsKey, tenant: 'acme' })
    socket.send({ type: 'subscribe', id: 'a', job })
    expect(short(await socket.next())).toBe(`a ${job} 1 job.queued`)
    const header = await connect({ key: opsKey, headers: { 'x-tenant': 'acme' } })
    header.send({ type: 'subscribe', id: 'a', job })
    expect(short(await header.next())).toBe(`a ${job} 1 job.queued`)
    const refused = await connect({ key: null })
    refused.send({ type: 'auth', key: acmeKey, tenant: 'other' })
    expect(codeOf(await refused.next())).toBe('forbidden')
    expect((await refused.closed).code).toBe(1008)
  })

  it('is needed within a time, and before anything else', async () => {
    const socket = await connect({ key: null })
    socket.send({ type: 'subscribe', id: 'a', all: true })
    expect(await socket.next()).toMatchObject({ type: 'error', id: 'a', error: { code: 'unauthorized' } })
    expect(await socket.closed).toEqual({ code: 4401, reason: 'no key within 0.3 s' })
    const wrong = await connect({ key: null })
    wrong.send({ type: 'auth', key: 'wrong' })
    expect(await wrong.next()).toMatchObject({ type: 'error', id: null, error: { code: 'unauthorized' } })
    expect((await wrong.closed).code).toBe(4401)
  })

  it('is refused by HTTP where a header has it', async () => {
    await expect(connect({ key: 'wrong' })).rejects.toMatchObject({
      status: 401,
      body: { error: { code: 'unauthorized' } },
    })
    await expect(connect({ headers: { 'x-tenant': 'other' } })).rejects.toMatchObject({ status: 403 })
  })

  it('shows only what belongs to its tenant', async () => {
    const theirs = await create({}, otherKey)
    const socket = await connect()
    socket.send({ type: 'subscribe', id: 'a', job: theirs })
    const foreign = await socket.next()
    socket.send({ type: 'subscribe', id: 'a', job: 'job_none' })
    expect(await socket.next()).toEqual(foreign)
    expect(codeOf(foreign)).toBe('not_found')
  })
})

describe('the origin of a socket', () => {
  it.each([
    ['https://evil.example', 403],
    ['null', 403],
    ['http://127.0.0.1:1', 403],
    ['own', 101],
    ['own by TLS', 101],
  ])('%s is answered %i', async (origin, status) => {
    const own = origin === 'own' ? url : origin === 'own by TLS' ? url.replace('http:', 'https:') : origin
    const connecting = connect({ headers: { origin: own } })
    if (status === 101) await connecting
    else await expect(connecting).rejects.toMatchObject({ status, body: { error: { param: 'origin' } } })
  })

  it('is checked where there is no key, too', async () => {
    const open = await createTestApi()
    onTestFinished(() => open.close())
    const at = await open.listen()
    await expect(
      connect({ at, key: null, headers: { origin: 'https://evil.example' } }),
    ).rejects.toMatchObject({ status: 403 })
    await expect(connect({ at, key: null, headers: { host: 'evil.example' } })).rejects.toMatchObject({
      status: 403,
    })
    const socket = await connect({ at, key: null })
    socket.send({ type: 'auth', key: 'whatever' })
    socket.send({ type: 'submit', id: 's', job: chatJob() })
    expect((await socket.next()).type).toBe('accepted')
    socket.socket.close()
    await socket.closed
  })
})

describe('an invalid message', () => {
  const huge = 'x'.repeat(2000)
  it.each<[what: string, message: unknown, id: string | null, param: string | null]>([
    ['no JSON', '{"type":', null, 'message'],
    ['nothing', '', null, 'message'],
    ['no object', '[1]', null, 'message'],
    ['null', 'null', null, 'message'],
    ['a name twice', '{"type":"unsubscribe","id":"a","id":"b"}', null, 'id'],
    ['a prototype', '{"type":"unsubscribe","__proto__":{}}', null, 'message'],
    ['deep', `{"type":"subscribe","id":"a","job":${'['.repeat(70)}${']'.repeat(70)}}`, null, 'any'],
    ['no type', { id: 'a' }, 'a', 'type'],
    ['an unknown type', { type: 'publish', id: 'a' }, 'a', 'type'],
    ['a huge id', { type: 'subscribe', id: huge, all: true }, null, 'id'],
    ['an id that is no text', { type: 'subscribe', id: 7, all: true }, null, 'id'],
    ['an empty id', { type: 'unsubscribe', id: '' }, null, 'id'],
    ['no id', { type: 'subscribe', all: true }, null, 'id'],
    ['nothing to follow', { type: 'subscribe', id: 'a' }, 'a', 'message'],
    ['two things to follow', { type: 'subscribe', id: 'a', all: true, group: 'g' }, 'a', 'message'],
    ['all that is not true', { type: 'subscribe', id: 'a', all: false }, 'a', 'all'],
    ['an unknown member', { type: 'subscribe', id: 'a', all: true, since: 1 }, 'a', 'since'],
    ['a filter of a job', { type: 'subscribe', id: 'a', job: 'job_1', filter: {} }, 'a', 'filter'],
    ['chunks of a group', { type: 'subscribe', id: 'a', group: 'g', deltas: true }, 'a', 'deltas'],
    [
      'an unknown filter',
      { type: 'subscribe', id: 'a', all: true, filter: { model: 'm' } },
      'a',
      'filter.model',
    ],
    [
      'an unknown event',
      { type: 'subscribe', id: 'a', all: true, filter: { event: 'x' } },
      'a',
      'filter.event',
    ],
    ['a cursor of nowhere', { type: 'subscribe', id: 'a', all: true, after: 'x' }, 'a', 'after'],
    ['an invalid cursor of a job', { type: 'subscribe', id: 'a', job: 'job_1', after: 'now' }, 'a', 'after'],
    ['a job that is none', { type: 'subscribe', id: 'a', job: '../x' }, 'a', null],
    ['a flow that is none', { type: 'subscribe', id: 'a', flow: 'flow_none' }, 'a', null],
    ['a subscription that is none', { type: 'unsubscribe', id: 'zz' }, 'zz', 'id'],
    ['no job', { type: 'submit', id: 'a' }, 'a', 'job'],
    ['a job that is text', { type: 'submit', id: 'a', job: 'x' }, 'a', 'job'],
    ['a job of no type', { type: 'submit', id: 'a', job: { body: {} } }, 'a', 'type'],
    [
      'a job of no model',
      {
        type: 'submit',
        id: 'a',
        job: chatJob({ body: { model: 'none/at-all', messages: [{ role: 'user', content: 'x' }] } }),
      },
      'a',
      'body.model',
    ],
    [
      'an invalid key',
      { type: 'submit', id: 'a', job: chatJob(), idempotency_key: '\u0000' },
      'a',
      'Idempotency-Key',
    ],
    ['bytes', Buffer.from('{"type":"unsubscribe","id":"a"}'), null, 'message'],
  ])('(%s) is answered and breaks nothing', async (_, message, id, param) => {
    const socket = await connect()
    if (Buffer.isBuffer(message)) socket.socket.send(message, { binary: true })
    else socket.send(message)
    const answer = await socket.next()
    expect(answer).toMatchObject({
      type: 'error',
      id,
      error: { message: expect.any(String), type: expect.any(String) },
    })
    if (param !== 'any') expect((answer.error as { param: unknown }).param).toBe(param)
    expect(JSON.stringify(answer)).not.toContain(huge)
    socket.send({ type: 'subscribe', id: 'ok', job: await create() })
    expect(await socket.next()).toMatchObject({ type: 'event', id: 'ok' })
  })

  it('(an id in use) leaves its subscription alone', async () => {
    const job = await create()
    const socket = await connect()
    socket.send({ type: 'subscribe', id: 'a', job })
    await socket.next()
    socket.send({ type: 'subscribe', id: 'a', all: true })
    expect(await socket.next()).toMatchObject({ type: 'error', id: 'a', error: { param: 'id' } })
    await api.worker.finish(job)
    expect(short(await socket.next())).toBe(`a ${job} 2 job.started`)
  })

  it('(over 1 MiB, also in fragments) closes with 1009', async () => {
    const whole = await connect()
    whole.send(JSON.stringify({ type: 'unsubscribe', id: 'x'.repeat(1024 * 1024) }))
    expect((await whole.closed).code).toBe(1009)
    const parts = await connect()
    parts.socket.send('{"type":"unsubscribe","id":"', { fin: false })
    for (let at = 0; at < 3; at++) parts.socket.send('x'.repeat(400_000), { fin: false })
    expect((await parts.closed).code).toBe(1009)
    const fits = await connect()
    fits.socket.send('{"type":"unsubscribe","id":"', { fin: false })
    fits.socket.send('none"}', { fin: true })
    expect(await fits.next()).toMatchObject({ type: 'error', id: 'none' })
  })
})

describe('a socket’s end', () => {
  it('is 1013 for a client that reads too slowly, which goes on from its cursor', async () => {
    const group = 'slow'
    const members = {
      group,
      body: { model: 'openai/small', stream: true, messages: [{ role: 'user', content: 'slow' }] },
    }
    const running = await api.worker.start(await create(members))
    const socket = await connect()
    socket.send({ type: 'subscribe', id: 'a', group })
    await socket.next()
    socket.socket.pause()
    const chunk = { text: 'y'.repeat(64 * 1024) }
    for (let at = 0; at < 120; at++)
      await api.worker.stream(running, [
        { at, ...chunk },
        { at, ...chunk },
      ])
    const patient = 500
    await new Promise((resolve) => setTimeout(resolve, patient))
    socket.socket.resume()
    let last = ''
    let seen = 1
    const reading = (async () => {
      for (;;) {
        const message = await socket.next()
        last = String(message.cursor)
        seen++
      }
    })().catch(() => {})
    expect(await socket.closed).toMatchObject({
      code: 1013,
      reason: expect.stringContaining('reads too slowly'),
    })
    await reading
    expect(seen).toBeLessThan(242)
    const again = await connect()
    again.send({ type: 'subscribe', id: 'a', group, after: last })
    expect((await again.take(242 - seen)).at(-1)).toMatchObject({ data: { seq: 242 } })
    await api.worker.complete(running)
  })

  it('does not come for a client that reads much, as long as it reads', async () => {
    const socket = await connect()
    for (let at = 0; at < 300; at++) socket.send({ type: 'unsubscribe', id: `none ${at}` })
    expect((await socket.take(300)).map(({ id }) => id)).toEqual(
      Array.from({ length: 300 }, (_, at) => `none ${at}`),
    )
  })

  it('comes for a peer that answers no ping', async () => {
    const socket = await connect({ autoPong: false })
    expect(await socket.closed).toMatchObject({ code: 1013, reason: expect.stringContaining('ping') })
  })

  it('is counted, and so are its messages', async () => {
    const metrics = async () => (await api.app.inject({ url: '/metrics', headers: bearer(opsKey) })).body
    const value = (text: string, name: string) =>
      Number(new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
    // Sockets of earlier tests disappear when the server has noticed their end.
    await until(async () => value(await metrics(), 'sluice_websockets_open') === 0)
    const before = await metrics()
    const socket = await connect()
    socket.send({ type: 'unsubscribe', id: 'none' })
    socket.send('no JSON')
    await socket.take(2)
    const during = await metrics()
    expect(value(during, 'sluice_websockets_open') - value(before, 'sluice_websockets_open')).toBe(1)
    socket.socket.close(1000)
    await socket.closed
    await until(async () => value(await metrics(), 'sluice_websockets_open') === 0)
    const after = await metrics()
    const grown = (name: string) => value(after, name) - value(before, name)
    expect(grown('sluice_websocket_closes_total{code="1000"}')).toBe(1)
    expect(grown('sluice_websocket_messages_total{direction="in",type="unsubscribe"}')).toBe(1)
    expect(grown('sluice_websocket_messages_total{direction="in",type="invalid"}')).toBe(1)
    expect(grown('sluice_websocket_messages_total{direction="out",type="error"}')).toBe(2)
  })

  it('is 1001 where the server closes, and leaves nothing', async () => {
    const closing = await createTestApi({ tenants: testTenants })
    const at = await closing.listen()
    const [one, silent] = [await connect({ at }), await connect({ at, key: null })]
    one.send({ type: 'subscribe', id: 'a', all: true })
    const closed = closing.close()
    expect((await one.closed).code).toBe(1001)
    expect((await silent.closed).code).toBe(1001)
    await closed
  })
})

describe('an invalid request for the socket', () => {
  it('is told to upgrade', async () => {
    const answer = await api.app.inject({ url: '/v1/ws', headers: bearer(acmeKey) })
    expect([answer.statusCode, answer.headers.upgrade]).toEqual([426, 'websocket'])
    expect(answer.json()).toMatchObject({ error: { code: 'upgrade_required' } })
  })

  it('and other upgrades, there and elsewhere, are answered as plain requests', async () => {
    const ask = (path: string, upgrade: string) =>
      new Promise<number>((resolve, reject) => {
        const headers = {
          ...bearer(acmeKey),
          connection: 'Upgrade, HTTP2-Settings',
          upgrade,
          'http2-settings': 'AAMAAABkAARAAAAAAAIAAAAA',
        }
        request(`${url}${path}`, { headers }, (response) => {
          response.resume()
          resolve(response.statusCode!)
        })
          .on('error', reject)
          .end()
      })
    expect(await ask('/v1/jobs', 'h2c')).toBe(200)
    expect(await ask('/v1/jobs', 'websocket')).toBe(200)
    expect(await ask('/healthz', 'h2c')).toBe(200)
    expect(await ask('/v1/ws', 'h2c')).toBe(426)
  })

  it('is refused where its handshake is broken', async () => {
    const { port } = new URL(url)
    const answer = await new Promise<string>((resolve) => {
      const socket = createConnection(Number(port), '127.0.0.1', () => {
        socket.write(
          `GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
        )
      })
      let text = ''
      socket.on('data', (data) => {
        text += data
      })
      socket.on('close', () => resolve(text))
    })
    expect(answer).toMatch(/^HTTP\/1\.1 400 /)
  })
})
