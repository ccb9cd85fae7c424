import { expect, it, onTestFinished } from 'vitest'
import type { ProxySettings } from '../../../lib/proxy.ts'
import { createSimulator } from '../../../simulator/simulator.ts'
import { startConnectProxy } from '../../helpers/connect-proxy.ts'
import { openProvider } from './fixture.ts'

const body = { model: 'gpt-test', messages: [{ role: 'user', content: 'hello' }] }

async function openProxy(options: Parameters<typeof startConnectProxy>[0] = {}) {
  const proxy = await startConnectProxy(options)
  onTestFinished(() => proxy.close())
  const { port } = new URL(proxy.url)
  const url = `http://user:sesame-open@127.0.0.1:${port}`
  const settings: ProxySettings = { http: url, https: url, noProxy: '' }
  return { proxy, settings }
}

async function openSimulated() {
  const simulator = createSimulator()
  const url = await simulator.listen()
  onTestFinished(() => simulator.close())
  return { simulator, port: Number(new URL(url).port) }
}

it('passes calls to a plain address on through the proxy, with its credentials and under the requested name', async () => {
  const { simulator, port } = await openSimulated()
  const { proxy, settings } = await openProxy({ to: port })
  const { ask } = openProvider('http://models.example/v1', { proxy: settings })
  expect(await ask({ body })).toMatchObject({ ok: true, status: 200 })
  expect(await ask({ body: { ...body, stream: true }, onDelta: () => {} })).toMatchObject({ ok: true })
  expect(proxy.asked).toEqual(Array(2).fill('POST http://models.example/v1/chat/completions'))
  expect(proxy.credentials[0]).toBe(`Basic ${Buffer.from('user:sesame-open').toString('base64')}`)
  expect(simulator.calls()).toHaveLength(2)
})

it('opens a tunnel to a TLS address; a call that breaks before it is open was not sent', async () => {
  const { port } = await openSimulated()
  const { proxy, settings } = await openProxy({ to: port })
  const { ask } = openProvider('https://models.example/v1', { proxy: settings })
  // At its end there is no TLS here.
  expect(await ask({ body })).toMatchObject({ ok: false, code: 'connection_error', ambiguous: false })
  expect(proxy.asked[0]).toBe('CONNECT models.example:443')
  expect(proxy.credentials[0]).toMatch(/^Basic /)
})

it.each([403, 407])('says that the proxy refused, with %d, and that nothing was sent', async (status) => {
  const { settings } = await openProxy({ refuse: status })
  const { ask } = openProvider('https://models.example/v1', { proxy: settings })
  const answer = await ask({ body })
  expect(answer).toMatchObject({
    ok: false,
    class: 'retryable',
    code: 'connection_error',
    ambiguous: false,
    message: `the proxy refused the connection to the provider (status ${status})`,
  })
  expect(JSON.stringify(answer)).not.toContain('sesame')
})

it('reaches what NO_PROXY names directly, and says where the proxy is not there', async () => {
  const { port } = await openSimulated()
  const { proxy, settings } = await openProxy()
  const direct = openProvider(`http://127.0.0.1:${port}/v1`, {
    proxy: { ...settings, noProxy: '.internal,127.0.0.1' },
  })
  expect(await direct.ask({ body })).toMatchObject({ ok: true })
  expect(proxy.asked).toEqual([])
  await proxy.close()
  const { ask } = openProvider('https://models.example/v1', { proxy: settings })
  expect(await ask({ body })).toMatchObject({ ok: false, code: 'connection_error', ambiguous: false })
})
