import { expect, it, onTestFinished } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import { startConnectProxy } from '../../helpers/connect-proxy.ts'
import { startOtlpReceiver } from '../../helpers/otlp.ts'
import { startReceiver } from '../webhooks/receiver.ts'
import { openHouse } from './house.ts'

it('sends calls, webhooks and traces by the proxy of the configuration, and shows its password nowhere', async () => {
  const proxy = await startConnectProxy()
  onTestFinished(() => proxy.close())
  const otlp = await startOtlpReceiver()
  onTestFinished(() => otlp.close())
  const receiver = await startReceiver()
  onTestFinished(() => receiver.close())
  const house = await openHouse({
    network: { proxy: proxy.url.replace('http://', 'http://user:sesame-open@'), no_proxy: [] },
    tracing: { endpoint: otlp.url },
    log: { level: 'trace' },
  })
  const body = { model: 'sim/chat', messages: [{ role: 'user', content: 'hello' }] }
  const response = await house.post('/v1/jobs', { type: 'chat', body, webhook: { url: receiver.url } })
  const { id } = (await response.json()) as Job
  await receiver.got(1)
  expect(await house.get<Job>(`/v1/jobs/${id}`)).toMatchObject({ status: 'completed' })
  await house.stop()

  const asked = (path: string) => proxy.asked.filter((line) => line.endsWith(path))
  expect(asked('/chat/completions')).toHaveLength(1)
  expect(asked(receiver.url)).toHaveLength(1)
  expect(asked(otlp.url).length).toBeGreaterThanOrEqual(1)
  expect(otlp.spans.length).toBeGreaterThan(0)
  const credentials = `Basic ${Buffer.from('user:sesame-open').toString('base64')}`
  expect(new Set(proxy.credentials)).toEqual(new Set([credentials]))
  const logged = JSON.stringify(house.logged)
  expect(logged).not.toContain('sesame-open')
  expect(logged).not.toContain(credentials)
})
