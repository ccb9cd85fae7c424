import { Agent, get as httpGet, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { jobChannel } from '../../../jobs/keys.ts'
import { chatJob, createTestApi, type TestApi, type TestApiOptions } from '../../helpers/api.ts'
import { until } from '../../helpers/store.ts'

async function start(options?: TestApiOptions): Promise<TestApi> {
  const api = await createTestApi(options)
  onTestFinished(() => api.close())
  return api
}

const createId = async ({ app }: TestApi): Promise<string> =>
  (await app.inject({ method: 'POST', url: '/v1/jobs', payload: chatJob() })).json().id

/** Called when a request has passed every check and goes to its route; counts those that did. */
function onHandled({ app }: TestApi, path: string): { first: Promise<void>; count: () => number } {
  const first = Promise.withResolvers<void>()
  let count = 0
  app.addHook('preHandler', async (request) => {
    if (!request.url.startsWith(path)) return
    count++
    first.resolve()
  })
  return { first: first.promise, count: () => count }
}

it('ends event streams and held answers at once, each properly', async () => {
  const api = await start()
  const url = await api.listen()
  const id = await createId(api)
  const stream = await fetch(`${url}/v1/jobs/${id}/events`)
  const other = (
    await api.app.inject({ method: 'POST', url: '/v1/jobs', payload: chatJob({}, 'other') })
  ).json().id
  const held = fetch(`${url}/v1/jobs/${other}?wait=60`)
  const channel = jobChannel(api.root(), other)
  await until(async () => Number((await api.redis.pubsub('NUMSUB', channel))[1]) === 1)
  const startedAt = performance.now()
  const closed = api.app.close()
  expect(await stream.text()).toContain('event: job.queued')
  expect(await (await held).json()).toMatchObject({ id: other, status: 'queued' })
  await closed
  expect(performance.now() - startedAt).toBeLessThan(10_000)
})

it('completes the answer under way and takes no more over its connection', async () => {
  const api = await start({ own: true })
  const handled = onHandled(api, '/v1/jobs/job_')
  const url = await api.listen()
  const id = await createId(api)
  // The store holds the answer, so that its connection stays open while the server closes.
  const thaw = api.freeze()
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let text = ''
  socket.setEncoding('utf8').on('data', (part) => {
    text += part
  })
  const ended = new Promise((resolve) => socket.on('close', resolve))
  const request = `GET /v1/jobs/${id} HTTP/1.1\r\nhost: localhost\r\n\r\n`
  socket.write(request)
  await handled.first
  const closed = api.app.close()
  await new Promise((resolve) => setTimeout(resolve, 50))
  socket.write(request)
  await new Promise((resolve) => setTimeout(resolve, 50))
  thaw()
  await Promise.all([closed, ended])
  const answers = text.split(/(?=HTTP\/1\.1 )/)
  expect(answers[0]).toMatch(/^HTTP\/1\.1 200 .*connection: close/is)
  expect(answers[0]).toContain(id)
  expect(handled.count()).toBe(1)
})

it('cuts an answer that takes too long', async () => {
  const api = await start({ own: true, limits: { closeGrace: 100 } })
  const handled = onHandled(api, '/v1/jobs/job_')
  const url = await api.listen()
  const id = await createId(api)
  const thaw = api.freeze()
  const response = fetch(`${url}/v1/jobs/${id}`)
  response.catch(() => undefined)
  await handled.first
  await api.app.close()
  await expect(response).rejects.toThrow()
  thaw()
})

it('does not wait for connections that keep alive', async () => {
  const api = await start()
  const url = await api.listen()
  const agent = new Agent({ keepAlive: true })
  const response = await new Promise<IncomingMessage>((resolve) =>
    httpGet(`${url}/healthz`, { agent }, resolve),
  )
  for await (const _ of response);
  const startedAt = performance.now()
  await api.app.close()
  expect(performance.now() - startedAt).toBeLessThan(10_000)
  agent.destroy()
})
