import { EventSource } from 'eventsource'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { jobChannel } from '../../../jobs/keys.ts'
import { chatJob, createTestApi, type TestApi } from '../../helpers/api.ts'
import { until } from '../../helpers/store.ts'

let api: TestApi
let url: string
beforeEach(async () => {
  api = await createTestApi({ limits: { heartbeat: 30 } })
  url = await api.listen()
})
afterEach(() => api.close())

let texts = 0
const createId = async (members: Record<string, unknown> = {}): Promise<string> => {
  const payload = chatJob(members, `text ${++texts}`)
  return (await api.app.inject({ method: 'POST', url: '/v1/jobs', payload })).json().id
}

const follow = (path: string, headers: Record<string, string> = {}, signal?: AbortSignal) =>
  fetch(`${url}${path}`, { headers, ...(signal && { signal }) })

/** The fields of each event of a whole stream; comments are dropped. */
function parse(text: string): { id?: string; event?: string; data?: { seq: number; job_id: string } }[] {
  return text
    .replaceAll(/^:.*\n/gm, '')
    .split('\n\n')
    .map((block) => Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2))))
    .filter((fields) => fields.id !== undefined)
    .map(({ retry: _retry, ...fields }) => ({ ...fields, data: JSON.parse(fields.data) }))
}

describe("a job's events", () => {
  it('come from the first, then live, and end with the job', async () => {
    const id = await createId()
    const running = await api.worker.start(id)
    const response = await follow(`/v1/jobs/${id}/events`)
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
    expect(response.headers.get('cache-control')).toContain('no-store')
    expect(response.headers.get('x-request-id')).not.toBeNull()
    await api.worker.stream(running, [{ text: 'two\nlines' }])
    await api.worker.complete(running, { result: { ok: true } })
    const events = parse(await response.text())
    expect(events.map(({ event, data }) => [event, data?.seq])).toEqual([
      ['job.queued', 1],
      ['job.started', 2],
      ['job.delta', 3],
      ['job.completed', 4],
    ])
    expect(events[2]?.data).toMatchObject({ chunk: { text: 'two\nlines' }, attempt: 1 })
    expect(events[3]?.data).toMatchObject({ job: { id, result: { ok: true } } })
  })

  it('come after Last-Event-ID, by header or by query', async () => {
    const id = await createId()
    await api.worker.finish(id)
    const all = parse(await (await follow(`/v1/jobs/${id}/events`)).text())
    const cursor = all[0]!.id!
    for (const response of [
      await follow(`/v1/jobs/${id}/events`, { 'last-event-id': cursor }),
      await follow(`/v1/jobs/${id}/events?last_event_id=${cursor}`),
    ]) {
      expect(parse(await response.text())).toEqual(all.slice(1))
    }
  })

  it('are over with 204 when nothing can come any more', async () => {
    const id = await createId()
    await api.worker.finish(id)
    const last = parse(await (await follow(`/v1/jobs/${id}/events`)).text()).at(-1)!.id!
    const response = await follow(`/v1/jobs/${id}/events`, { 'last-event-id': last })
    expect([response.status, await response.text()]).toEqual([204, ''])
  })

  it('are understood by a standard client, which stops by itself', async () => {
    const id = await createId()
    const source = new EventSource(`${url}/v1/jobs/${id}/events`)
    const seen: string[] = []
    const closed = new Promise<void>((resolve) => {
      source.addEventListener('error', () => {
        if (source.readyState === EventSource.CLOSED) resolve()
      })
    })
    const heard = {
      'job.queued': Promise.withResolvers<void>(),
      'job.started': Promise.withResolvers<void>(),
      'job.completed': Promise.withResolvers<void>(),
    }
    for (const [type, { resolve }] of Object.entries(heard)) {
      source.addEventListener(type, (event) => {
        seen.push(`${JSON.parse(event.data).seq} ${type}`)
        resolve()
      })
    }
    await heard['job.queued'].promise
    const running = await api.worker.start(id)
    await heard['job.started'].promise
    await api.worker.complete(running)
    await closed
    expect(seen).toEqual(['1 job.queued', '2 job.started', '3 job.completed'])
  })

  it('are kept awake by comments', async () => {
    const id = await createId()
    const client = new AbortController()
    const response = await follow(`/v1/jobs/${id}/events`, {}, client.signal)
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk
      if (text.split(': keep-alive\n').length > 2) break
    }
    expect(text).toMatch(/^retry: \d+\n(?:: keep-alive\n)*id: /)
    client.abort()
  })

  it('end in the store when the client goes away', async () => {
    const id = await createId()
    const subscribed = async () => Number((await api.redis.pubsub('NUMSUB', jobChannel(api.root(), id)))[1])
    const client = new AbortController()
    const response = await follow(`/v1/jobs/${id}/events`, {}, client.signal)
    await response.body!.getReader().read()
    await until(async () => (await subscribed()) === 1)
    client.abort()
    await until(async () => (await subscribed()) === 0)
  })

  it('break off when the store fails midway, so that the client comes again', async () => {
    const id = await createId()
    const response = await follow(`/v1/jobs/${id}/events`)
    const text = response.text()
    const channel = jobChannel(api.root(), id)
    await until(async () => Number((await api.redis.pubsub('NUMSUB', channel))[1]) === 1)
    // A key that is not a list is an error like any other to the reader.
    await api.redis.set(`${api.root()}:job:${id}:events`, 'spoiled')
    await api.redis.publish(channel, '2')
    await expect(text).rejects.toThrow()
  })

  it('do not answer HEAD, which would never end', async () => {
    const id = await createId()
    expect((await fetch(`${url}/v1/jobs/${id}/events`, { method: 'HEAD' })).status).toBe(404)
  })
})

it("a group's events are those of all its jobs, until the last is finished", async () => {
  const ids = [await createId({ group: 'g' }), await createId({ group: 'g' })]
  await createId({ group: 'other' })
  const response = await follow('/v1/groups/g/events')
  for (const id of ids) await api.worker.finish(id)
  const events = parse(await response.text())
  expect(events.map(({ event, data }) => `${data?.job_id} ${data?.seq} ${event}`).sort()).toEqual(
    ids.flatMap((id) => [`${id} 1 job.queued`, `${id} 2 job.started`, `${id} 3 job.completed`]).sort(),
  )
})
