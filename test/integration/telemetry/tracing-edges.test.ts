import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type Server } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { createRedis } from '../../../lib/redis.ts'
import { type OtlpReceiver, startOtlpReceiver } from '../../helpers/otlp.ts'
import { keysOf } from '../../helpers/redis.ts'
import { until } from '../../helpers/store.ts'
import { startReceiver } from '../webhooks/receiver.ts'
import { type House, newTrace, openHouse } from './house.ts'

const chat = (text: string) => ({
  type: 'chat',
  body: { model: 'sim/chat', messages: [{ role: 'user', content: text }] },
})

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function finish(house: House, job: object, headers: Record<string, string> = {}): Promise<string> {
  const { id } = (await (await house.post('/v1/jobs', job, headers)).json()) as { id: string }
  return (await house.get<{ status: string }>(`/v1/jobs/${id}?wait=20`)).status
}

async function openReceiver(): Promise<OtlpReceiver> {
  const receiver = await startOtlpReceiver()
  closing.push(() => receiver.close())
  return receiver
}

test('without an endpoint no trace is kept or passed on', async () => {
  const hooks = await startReceiver()
  closing.push(() => hooks.close())
  const house = await openHouse({})
  const trace = newTrace()
  expect(await finish(house, { ...chat('one'), webhook: { url: hooks.url } }, trace.headers)).toBe(
    'completed',
  )
  await hooks.got(1)
  await house.stop()
  expect(hooks.received[0]!.headers).not.toHaveProperty('traceparent')
  const redis = createRedis({ ...house.place, role: 'commands', name: 'test' })
  closing.push(async () => redis.disconnect())
  const records = (await keysOf(redis, `${house.place.prefix}:*:job:job_*`)).filter(
    (key) => !/:job:.*:/.test(key),
  )
  expect(records).toHaveLength(1)
  expect(await redis.hkeys(records[0]!)).not.toContain('trace')
})

test('of traces that begin here a share is sent; a caller decides for its own', async () => {
  const receiver = await openReceiver()
  const house = await openHouse({ tracing: { endpoint: receiver.url, sample: 0 } })
  const trace = newTrace()
  await finish(house, chat('of nobody'))
  await finish(house, chat('of a caller'), trace.headers)
  await house.stop()
  expect(receiver.spans.map(({ traceId }) => traceId)).toEqual(Array.from({ length: 4 }, () => trace.id))
})

test('prompts and answers are in the spans of calls where that is configured', async () => {
  const receiver = await openReceiver()
  const house = await openHouse({ tracing: { endpoint: receiver.url, content: true } })
  await finish(house, chat('what the prompt is'))
  await house.stop()
  const [call] = receiver.spans.filter(({ name }) => name === 'chat chat')
  expect(JSON.parse(String(call!.attributes['gen_ai.input.messages']))).toEqual([
    { role: 'user', parts: [{ type: 'text', content: 'what the prompt is' }] },
  ])
  expect(JSON.parse(String(call!.attributes['gen_ai.output.messages']))).toMatchObject([
    { role: 'assistant', parts: [{ type: 'text' }], finish_reason: 'stop' },
  ])
})

test('a request whose client went away has a span as well', async () => {
  const receiver = await openReceiver()
  const house = await openHouse({ tracing: { endpoint: receiver.url } }, { simulator: { latencyMs: 500 } })
  const trace = newTrace()
  const gone = new AbortController()
  const call = fetch(`${house.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...house.headers, 'content-type': 'application/json', ...trace.headers },
    body: JSON.stringify(chat('nobody waits for this').body),
    signal: gone.signal,
  })
  call.catch(() => {})
  const isLatest = async (status: string) =>
    (await house.get<{ data: { status: string }[] }>('/v1/jobs?limit=1')).data[0]?.status === status
  await until(() => isLatest('running'))
  gone.abort()
  await until(() => isLatest('cancelled'))
  await house.stop()
  const spans = receiver.trace(trace.id)
  const find = (kind: number) => spans.find((span) => span.kind === kind)!.attributes
  expect(spans).toHaveLength(4)
  expect(find(2)).toMatchObject({ 'sluice.client_gone': true })
  expect(find(5)).toMatchObject({ 'sluice.outcome': 'dropped', 'sluice.reason': 'cancelled' })
})

test('a request without a valid key has no span', async () => {
  const receiver = await openReceiver()
  const house = await openHouse({ tracing: { endpoint: receiver.url } }, { worker: false })
  const answer = await house.post('/v1/jobs', chat('one'), {
    ...newTrace().headers,
    authorization: 'Bearer wrong',
  })
  expect(answer.status).toBe(401)
  await house.stop()
  expect(receiver.spans).toEqual([])
})

describe('a receiver', () => {
  /** Accepts connections and never answers. */
  async function startMute(): Promise<string> {
    const server: Server = createServer(() => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const sockets = new Set<{ destroy(): void }>()
    server.on('connection', (socket) => sockets.add(socket))
    closing.push(async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    })
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`
  }

  test.each([
    ['is not there', async () => 'http://127.0.0.1:9/v1/traces'],
    ['does not answer', startMute],
  ])('that %s holds up neither a job nor the end of the process', async (_name, endpointOf) => {
    const house = await openHouse({ tracing: { endpoint: await endpointOf() } })
    expect(await finish(house, chat('one'))).toBe('completed')
    expect(await house.stop()).toBeLessThan(3500)
  })
})
