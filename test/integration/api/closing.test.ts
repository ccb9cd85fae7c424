import { Agent, get as httpGet, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { chatJob, createTestApi } from '../../helpers/api.ts'

it('ends event streams and held answers at once, each properly', async () => {
  const api = createTestApi()
  const url = await api.listen()
  const { id } = (await api.app.inject({ method: 'POST', url: '/v1/jobs', payload: chatJob() })).json()
  const waitBegan = Promise.withResolvers<void>()
  const { wait } = api.jobs
  api.jobs.wait = (...given) => {
    waitBegan.resolve()
    return wait(...given)
  }
  const stream = await fetch(`${url}/v1/jobs/${id}/events`)
  const held = fetch(`${url}/v1/jobs/${id}?wait=60`)
  await waitBegan.promise
  const startedAt = performance.now()
  const closed = api.close()
  expect(await stream.text()).toContain('event: job.queued')
  expect(await (await held).json()).toMatchObject({ id, status: 'queued' })
  await closed
  expect(performance.now() - startedAt).toBeLessThan(2000)
})

it('completes the answer underway and takes no more over its connection', async () => {
  const api = createTestApi()
  const url = await api.listen()
  const { id } = (await api.app.inject({ method: 'POST', url: '/v1/jobs', payload: chatJob() })).json()
  // The store holds one answer, so that its connection stays open while the server closes.
  const gate = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  const { get } = api.jobs
  let calls = 0
  api.jobs.get = async (...given) => {
    calls++
    asked.resolve()
    await gate.promise
    return get(...given)
  }
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let text = ''
  socket.setEncoding('utf8').on('data', (part) => {
    text += part
  })
  const ended = new Promise((resolve) => socket.on('close', resolve))
  const request = `GET /v1/jobs/${id} HTTP/1.1\r\nhost: a\r\n\r\n`
  socket.write(request)
  await asked.promise
  const closed = api.close()
  await new Promise((resolve) => setTimeout(resolve, 50))
  socket.write(request)
  await new Promise((resolve) => setTimeout(resolve, 50))
  gate.resolve()
  await Promise.all([closed, ended])
  const answers = text.split(/(?=HTTP\/1\.1 )/)
  expect(answers[0]).toMatch(/^HTTP\/1\.1 200 .*connection: close/is)
  expect(answers[0]).toContain(id)
  expect(calls).toBe(1)
})

it('cuts an answer that takes too long', async () => {
  const api = createTestApi({ limits: { closeGrace: 100 } })
  const url = await api.listen()
  const asked = Promise.withResolvers<void>()
  api.jobs.get = () => {
    asked.resolve()
    return new Promise(() => {})
  }
  const response = fetch(`${url}/v1/jobs/job_1`)
  response.catch(() => undefined)
  await asked.promise
  await api.close()
  await expect(response).rejects.toThrow()
})

it('does not wait for connections that keep alive', async () => {
  const api = createTestApi()
  const url = await api.listen()
  const agent = new Agent({ keepAlive: true })
  const response = await new Promise<IncomingMessage>((resolve) =>
    httpGet(`${url}/healthz`, { agent }, resolve),
  )
  for await (const _ of response);
  const startedAt = performance.now()
  await api.close()
  expect(performance.now() - startedAt).toBeLessThan(2000)
  agent.destroy()
})
