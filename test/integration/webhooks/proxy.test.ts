import { expect, it, onTestFinished } from 'vitest'
import { createAddressGuard, type LookupAll } from '../../../webhooks/address-guard.ts'
import { createWebhookSender } from '../../../webhooks/send.ts'
import { startConnectProxy } from '../../helpers/connect-proxy.ts'
import { startReceiver, WEBHOOK_SECRET } from './receiver.ts'

/** A sender behind a proxy that sends every request to the receiver. */
async function openSender(addresses: string[], options: { noProxy?: string; allowAll?: boolean } = {}) {
  const receiver = await startReceiver()
  onTestFinished(() => receiver.close())
  const proxy = await startConnectProxy({ to: Number(new URL(receiver.url).port) })
  onTestFinished(() => proxy.close())
  const looked: string[] = []
  const lookup: LookupAll = (hostname, _options, callback) => {
    looked.push(hostname)
    const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
    const none = Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
    callback(found.length === 0 ? none : null, found)
  }
  const sender = createWebhookSender({
    guard: createAddressGuard({
      allowPrivateAddresses: options.allowAll ?? false,
      proxy: { http: proxy.url, https: proxy.url, noProxy: options.noProxy ?? '' },
      lookup,
    }),
    secrets: () => [WEBHOOK_SECRET],
    now: Date.now,
    version: '0',
    timeoutMs: 2000,
  })
  onTestFinished(() => sender.close())
  const send = (url: string) => sender.send({ id: 'whd_1', url, body: '{}', tenant: 'acme' })
  return { send, proxy, receiver, looked }
}

it('uses the proxy, which resolves the name, once the name is known to be public', async () => {
  const { send, proxy, receiver, looked } = await openSender(['93.184.216.34'])
  expect(await send('http://hooks.example/a')).toMatchObject({ delivered: true, status: 204 })
  expect(proxy.asked).toEqual(['POST http://hooks.example/a'])
  expect([receiver.received.length, looked]).toEqual([1, ['hooks.example']])
  await send('https://hooks.example/a')
  expect(proxy.asked[1]).toBe('CONNECT hooks.example:443')
})

it.each([
  ['a private name', ['10.0.0.1'], 'http://hooks.example/a'],
  ['a name that is private as well', ['93.184.216.34', '::1'], 'https://hooks.example/a'],
  ['a private address', [], 'http://10.0.0.1/a'],
  ['an address of IPv6', [], 'https://[fd00::1]/a'],
])('sends %s to no proxy', async (_what, addresses, url) => {
  const { send, proxy, receiver } = await openSender(addresses)
  expect(await send(url)).toMatchObject({
    delivered: false,
    error: 'url must lead to a public address',
  })
  expect([proxy.asked, receiver.received]).toEqual([[], []])
})

it('sends a name that is unknown here to no proxy, unless every address is allowed', async () => {
  const strict = await openSender([])
  expect(await strict.send('http://hooks.example/a')).toMatchObject({
    error: 'connection failed: ENOTFOUND',
  })
  expect(strict.proxy.asked).toEqual([])
  const open = await openSender([], { allowAll: true })
  expect(await open.send('http://hooks.example/a')).toMatchObject({ delivered: true })
  expect(open.looked).toEqual([])
})

it('guards direct sends as it does without a proxy', async () => {
  const { send, proxy } = await openSender(['10.0.0.1'], { noProxy: 'hooks.example' })
  expect(await send('http://hooks.example/a')).toMatchObject({
    error: 'url must lead to a public address',
  })
  expect(proxy.asked).toEqual([])
})
