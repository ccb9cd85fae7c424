import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createAddressGuard } from '../../../webhooks/address-guard.ts'
import { createWebhookSender, type WebhookSenderOptions } from '../../../webhooks/send.ts'
import { type Answerer, startReceiver, verifyReceived, WEBHOOK_SECRET } from './receiver.ts'

const closers: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function openReceiver(answer?: Answerer) {
  const receiver = await startReceiver(answer)
  closers.push(receiver.close)
  return receiver
}

function openSender(options: Partial<WebhookSenderOptions> = {}) {
  const guard = createAddressGuard({ allowPrivateAddresses: true })
  const defaults = { guard, secrets: () => [WEBHOOK_SECRET], now: Date.now, version: '1.2.3' }
  const sender = createWebhookSender({ ...defaults, ...options })
  closers.push(sender.close)
  return sender
}

const answering =
  (status: number, headers: Record<string, string> = {}): Answerer =>
  (_received, _index, response) =>
    void response.writeHead(status, headers).end('whatever')

describe('webhook sender', () => {
  it('sends a webhook that the reference implementation accepts', async () => {
    const receiver = await openReceiver()
    const body = '{"type":"job.completed","data":{"text":"héllo ✓"}}'
    const outcome = await openSender().send({ id: 'whd_1', url: receiver.url, body })

    expect(outcome).toMatchObject({ delivered: true, gone: false, status: 204, error: null })
    expect(verifyReceived(receiver.received[0])).toEqual(JSON.parse(body))
    expect(receiver.received[0]?.headers).toMatchObject({
      'webhook-id': 'whd_1',
      'content-type': 'application/json',
      'user-agent': 'Sluice/1.2.3',
    })
  })

  it('signs with every secret during a rotation, read at each sending', async () => {
    const receiver = await openReceiver()
    const next = `whsec_${Buffer.from('the next secret').toString('base64')}`
    let secrets = [WEBHOOK_SECRET]
    const sender = openSender({ secrets: () => secrets })
    await sender.send({ id: 'whd_1', url: receiver.url, body: '{}' })
    secrets = [next, WEBHOOK_SECRET]
    await sender.send({ id: 'whd_2', url: receiver.url, body: '{}' })

    expect(() => verifyReceived(receiver.received[0], next)).toThrow('No matching signature')
    expect(verifyReceived(receiver.received[1], next)).toEqual({})
    expect(verifyReceived(receiver.received[1], WEBHOOK_SECRET)).toEqual({})
  })

  it.each([200, 201, 202, 204, 299])('treats %i as delivered', async (status) => {
    const receiver = await openReceiver(answering(status))
    const outcome = await openSender().send({ id: 'whd_1', url: receiver.url, body: '{}' })
    expect(outcome).toMatchObject({ delivered: true, status, error: null })
  })

  it.each([301, 302, 303, 307, 308])('takes %i for failure and follows it nowhere', async (status) => {
    const elsewhere = await openReceiver()
    const receiver = await openReceiver(answering(status, { location: elsewhere.url }))
    const outcome = await openSender().send({ id: 'whd_1', url: receiver.url, body: '{}' })
    expect(outcome).toMatchObject({ delivered: false, gone: false, status })
    expect(outcome.error).toBe(`answered ${status}; redirects are not followed`)
    expect(elsewhere.received).toEqual([])
  })

  it.each([
    [400, false],
    [404, false],
    [410, true],
    [429, false],
    [500, false],
    [503, false],
  ])('treats %i as a failure; gone: %s', async (status, gone) => {
    const receiver = await openReceiver(answering(status))
    const outcome = await openSender().send({ id: 'whd_1', url: receiver.url, body: '{}' })
    expect(outcome).toMatchObject({ delivered: false, gone, status, error: `answered ${status}` })
  })

  it('gives up a receiver that does not answer in time', async () => {
    const receiver = await openReceiver(() => {})
    const outcome = await openSender({ timeoutMs: 50 }).send({ id: 'whd_1', url: receiver.url, body: '{}' })
    expect(outcome).toMatchObject({ delivered: false, status: null, error: 'no answer within 50 ms' })
  })

  it('cuts off an answer that does not end', async () => {
    const written = { bytes: 0 }
    const receiver = await openReceiver((_received, _index, response) => {
      response.writeHead(200)
      const chunk = Buffer.alloc(16 * 1024)
      const pump = () => {
        while (!response.destroyed && response.write(chunk)) written.bytes += chunk.length
      }
      response.on('drain', pump)
      pump()
    })
    const outcome = await openSender().send({ id: 'whd_1', url: receiver.url, body: '{}' })
    expect(outcome).toMatchObject({ delivered: true, status: 200 })
    // The sockets of both sides buffer more than the 64 KiB that are read.
    expect(written.bytes).toBeLessThan(16 * 1024 * 1024)
  })

  it('names the kind of a connection failure, without the address', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    server.close()
    await once(server, 'close')
    const port = typeof address === 'object' ? address?.port : 0
    const outcome = await openSender().send({ id: 'whd_1', url: `http://127.0.0.1:${port}/`, body: '{}' })
    expect(outcome).toMatchObject({
      delivered: false,
      status: null,
      error: 'connection failed: ECONNREFUSED',
    })
  })

  it.each([
    ['NONSENSE\r\n\r\n', 'the answer is not valid HTTP'],
    ['HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n', 'the answer is not valid HTTP'],
    [`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`, 'connection failed: UND_ERR_HEADERS_OVERFLOW'],
    ['', 'connection failed: UND_ERR_SOCKET'],
  ])('names what is wrong with an answer that is none: %#', async (answer, error) => {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.end(answer))
    }).listen(0, '127.0.0.1')
    closers.push(async () => {
      server.close()
      await once(server, 'close')
    })
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const outcome = await openSender().send({ id: 'whd_1', url: `http://127.0.0.1:${port}/`, body: '{}' })
    expect(outcome).toMatchObject({ delivered: false, status: null, error })
  })

  it('sends nothing to a private address, whether written or resolved', async () => {
    const receiver = await openReceiver()
    const guard = createAddressGuard({
      allowPrivateAddresses: false,
      lookup: (_hostname, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
    })
    const sender = openSender({ guard })
    for (const url of [receiver.url, receiver.url.replace('127.0.0.1', 'hooks.example.com')]) {
      const outcome = await sender.send({ id: 'whd_1', url, body: '{}' })
      expect(outcome).toMatchObject({
        delivered: false,
        status: null,
        error: 'url must lead to a public address',
      })
    }
    expect(receiver.received).toEqual([])
  })

  it.each([
    [[], 'webhook secret: none given'],
    [['whsec_*'], 'webhook secret: what follows whsec_ is not base64'],
  ])('sends nothing unsigned (secrets %j)', async (secrets, error) => {
    const receiver = await openReceiver()
    const outcome = await openSender({ secrets: () => secrets }).send({
      id: 'a',
      url: receiver.url,
      body: '{}',
    })
    expect(outcome).toMatchObject({ delivered: false, error })
    expect(receiver.received).toEqual([])
  })

  it('keeps to its pace towards one host and lets other hosts pass', async () => {
    const held: (() => void)[] = []
    const slow = await openReceiver((_received, _index, response) => {
      held.push(() => response.writeHead(204).end())
    })
    const quick = await openReceiver()
    const lookup = { lookup: resolveToLoopback, allowPrivateAddresses: true }
    const sender = openSender({
      guard: createAddressGuard(lookup),
      pacing: { maxConcurrent: 2, minTimeMs: 0, idleMs: 1000 },
    })
    const slowUrl = slow.url.replace('127.0.0.1', 'slow.example.com')
    const sends = [1, 2, 3, 4, 5].map((n) => sender.send({ id: `whd_${n}`, url: slowUrl, body: '{}' }))
    // A name that plain objects know too.
    const quickUrl = quick.url.replace('127.0.0.1', 'constructor')
    expect(await sender.send({ id: 'whd_9', url: quickUrl, body: '{}' })).toMatchObject({ delivered: true })

    for (let answered = 0; answered < 5; answered++) {
      await slow.got(Math.min(answered + 2, 5))
      held[answered]?.()
    }
    for (const outcome of await Promise.all(sends)) expect(outcome.delivered).toBe(true)
    expect(slow.most.open).toBe(2)
  })

  it('gives up a send on request', async () => {
    const abort = new AbortController()
    const receiver = await openReceiver(() => abort.abort())
    const outcome = await openSender().send({ id: 'a', url: receiver.url, body: '{}', signal: abort.signal })
    expect(outcome).toMatchObject({ delivered: false, status: null, error: 'aborted' })
  })
})

function resolveToLoopback(
  _hostname: string,
  _options: unknown,
  callback: (error: null, addresses: { address: string; family: number }[]) => void,
): void {
  callback(null, [{ address: '127.0.0.1', family: 4 }])
}
