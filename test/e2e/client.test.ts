import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  type BulkAnswer,
  type CreateJob,
  createClient,
  type Fetch,
  type SluiceEvent,
  verifyWebhook,
} from '../../client/index.ts'
import { chat, type Stack, startStack } from '../helpers/stack.ts'
import { WEBHOOK_SECRET } from '../integration/webhooks/receiver.ts'

type Completion = { choices: { message: { content: string } }[] }

let stack: Stack
/** The addresses to which a balancer would send, in its order. */
let alive: string[] = []

/** Like a balancer: the first API process that can be reached. */
const balanced: Fetch = async (input, init) => {
  const path = input.replace('http://balancer.test', '')
  for (const url of alive.slice(0, -1)) {
    try {
      return await fetch(url + path, init)
    } catch (error) {
      if (init?.signal?.aborted) throw error
    }
  }
  return fetch(alive.at(-1) + path, init)
}
const open = () =>
  createClient({
    url: 'http://balancer.test',
    fetch: balanced,
    retries: { attempts: 8, firstWaitMs: 20, longestWaitMs: 5_000 },
  })
const create = (content: string, members: object = {}, body: object = {}) =>
  chat(content, { ...members }, body) as CreateJob

beforeAll(async () => {
  stack = await startStack({
    apis: 3,
    simulator: ['--latency', '20', '--output-tokens', '40', '--per-token', '20'],
    extra: `webhooks: { secret: ${WEBHOOK_SECRET}, allow_private_addresses: true }`,
  })
  alive = [...stack.urls]
})
afterAll(() => stack?.stop())

test('two thousand jobs in one call are all answered, in order, and complete', async () => {
  const client = open()
  async function* creates() {
    for (let index = 0; index < 2000; index++) {
      yield {
        type: 'embedding' as const,
        group: 'many',
        body: { model: 'sim/embed', input: `text ${index}` },
      }
    }
  }
  const answers: BulkAnswer[] = []
  for await (const answer of client.submitMany(creates())) answers.push(answer)
  expect(answers.map(({ index }) => index)).toEqual(Array.from({ length: 2000 }, (_, index) => index))
  expect(answers.every((answer) => 'id' in answer)).toBe(true)
  const ended = new Set<string>()
  for await (const { type, data } of client.events({ group: 'many' })) {
    if (type === 'job.completed') ended.add(data.job.id)
  }
  expect(ended.size).toBe(2000)
})

test('a webhook of the real sender is accepted, and one that was changed is not', async () => {
  const { promise, resolve } = Promise.withResolvers<{ headers: IncomingHttpHeaders; body: string }>()
  const server = createServer(async (request, response) => {
    resolve({ headers: request.headers, body: await text(request) })
    response.writeHead(204).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const job = await open().submit(create('announce me', { webhook: { url } }))
    const { headers, body } = await promise
    const message = await verifyWebhook(body, headers, ['another secret', WEBHOOK_SECRET])
    expect(message).toMatchObject({ type: 'job.completed', data: { id: job.id, status: 'completed' } })
    await expect(verifyWebhook(body.replace('completed', 'failed'), headers, WEBHOOK_SECRET)).rejects.toThrow(
      'no signature matches',
    )
  } finally {
    server.close()
  }
})

test('events go on after an API process is killed in the middle of a stream, and in another process', async () => {
  const client = open()
  const { id } = await client.submit(create('tell me a story', { cache: 'off' }, { stream: true }))
  const events: SluiceEvent[] = []
  for await (const event of client.events(id)) {
    events.push(event)
    if (event.data.seq === 6) {
      stack.apis[0]!.kill('SIGKILL')
      await stack.apis[0]!.exited
    }
    // As if this process ended: another one goes on with what was noted.
    if (event.data.seq === 12) break
  }
  for await (const event of open().events(id, { after: events.at(-1)!.id })) events.push(event)
  expect(events.map(({ data }) => data.seq)).toEqual(events.map((_, index) => index + 1))
  const last = events.at(-1)!
  expect(last.type).toBe('job.completed')
  const job = await client.get(id)
  expect(last.data.job).toEqual(job)
  const told = events
    .map((event) => (event.type === 'job.delta' ? (event.data.chunk as DeltaChunk) : null))
    .map((chunk) => chunk?.choices?.[0]?.delta?.content ?? '')
    .join('')
  expect(told).toBe((job.result as Completion).choices[0]!.message.content)
  expect(told.length).toBeGreaterThan(40)
})

type DeltaChunk = { choices?: { delta?: { content?: string } }[] }

test('run answers though the API process at which it waits closes', async () => {
  const first = stack.urls[1]!
  const running = open().run<Completion>(create('think for a while [[fault:slow:ms=1500]]'))
  await expect.poll(async () => (await stack.simulator.state()).in_flight, { timeout: 20_000 }).toBe(1)
  const closing = stack.apis.find(({ match }) => match[1] === first)!
  closing.kill('SIGTERM')
  await closing.exited
  expect((await running).choices[0]!.message.content).toMatch(/^Answer /)
})
