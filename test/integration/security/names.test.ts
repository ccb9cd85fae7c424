import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { moveGroups } from '../../../jobs/group-names.ts'
import { ALONE, createScripts } from '../../../jobs/scripts.ts'
import { chatJob, createTestApi, type TestApi } from '../../helpers/api.ts'
import { collectKeyWords } from '../../helpers/key-words.ts'
import { readOperations } from '../../helpers/openapi.ts'
import { keysOf } from '../../helpers/redis.ts'
import { seed } from '../../helpers/seed.ts'

const words = collectKeyWords()

let api: TestApi
beforeEach(async () => {
  api = await createTestApi()
})
afterEach(() => api.close())

const get = (url: string) => api.app.inject({ url })

async function create(members: object, text: string, headers = {}): Promise<string> {
  const response = await api.app.inject({
    method: 'POST',
    url: '/v1/jobs',
    headers,
    payload: chatJob(members as Record<string, unknown>, text),
  })
  expect(response.statusCode, `${text}: ${response.body}`).toBe(202)
  return response.json().id
}

/** All keys of a tenant by their type. */
async function readTypes(): Promise<string[]> {
  const keys = await keysOf(api.redis, `${api.root()}:*`)
  return Promise.all(keys.map(async (key) => `${key} ${await api.redis.type(key)}`))
}

describe('a name made of the words of our keys', { timeout: 60_000 }, () => {
  it('makes a group like any other, in any order beside any other', async () => {
    const name = fc
      .array(fc.constantFrom('nightly', ...words), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join(':'))
    const names = new Set(fc.sample(name, { numRuns: 150, seed }))
    // The three that collided, in both orders.
    for (const part of ['jobs', 'events']) {
      for (const group of [`one:${part}`, 'one', 'two', `two:${part}`]) names.add(group)
    }
    const ids = new Map<string, string>()
    for (const group of names) ids.set(group, await create({ group }, `seed ${seed}: ${group}`))
    for (const [group, id] of ids) {
      const told = `seed ${seed}: ${group}`
      expect((await get(`/v1/groups/${encodeURIComponent(group)}`)).json(), told).toMatchObject({ total: 1 })
      const listed = (await get(`/v1/jobs?group=${encodeURIComponent(group)}`)).json()
      expect(
        listed.data.map((job: { id: string }) => job.id),
        told,
      ).toEqual([id])
      const cancelled = await api.app.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` })
      expect(cancelled.statusCode, told).toBe(200)
      const events = await get(`/v1/groups/${encodeURIComponent(group)}/events`)
      expect(events.body.match(/^event: .*/gm), told).toEqual(['event: job.queued', 'event: job.cancelled'])
    }
    for (const id of ids.values()) {
      expect((await api.app.inject({ method: 'DELETE', url: `/v1/jobs/${id}` })).statusCode).toBe(200)
    }
    expect((await readTypes()).filter((key) => key.includes(':group'))).toEqual([])
    expect(api.logged).toEqual([])
  })

  it('makes an idempotency key like any other', async () => {
    const keys = words.flatMap((word) => [word, `nightly:${word}`])
    const ids = new Set<string>()
    for (const key of keys) ids.add(await create({}, `with ${key}`, { 'idempotency-key': key }))
    expect(ids.size).toBe(keys.length)
  })

  it('behind an id is not an id: paths answer as for a missing one, and lists name the cursor', async () => {
    const form = new FormData()
    form.set('purpose', 'batch')
    form.set('file', new Blob(['{}\n']), `${words.join(':')}\0.jsonl`)
    const upload = new Request('http://localhost/', { method: 'POST', body: form })
    const file = await api.app.inject({
      method: 'POST',
      url: '/v1/files',
      headers: { 'content-type': upload.headers.get('content-type')! },
      payload: Buffer.from(await upload.arrayBuffer()),
    })
    const batch = await api.app.inject({
      method: 'POST',
      url: '/v1/batches',
      payload: {
        input_file_id: file.json().id,
        endpoint: '/v1/chat/completions',
        completion_window: '24h',
      },
    })
    const job = await create({ webhook: { url: 'https://receiver.example/' } }, 'a job')
    await api.worker.finish(job)
    const [delivery] = (await get(`/v1/jobs/${job}/deliveries`)).json().data
    const known: Record<string, string> = {
      jobs: job,
      files: file.json().id,
      batches: batch.json().id,
      deliveries: delivery.id,
      responses: job.replace('job_', 'resp_'),
    }
    const before = await readTypes()
    const { operations } = await readOperations(api.app)
    const ends = [
      ...words.map((word) => `:${word}`),
      ':0',
      ':1',
      '*',
      '?',
      '[a]',
      '\0',
      '\n',
      '}',
      '%00',
      ' ',
      ':',
    ]
    let asked = 0
    for (const { method, path, parameters } of operations) {
      const collection = path.split('/')[2]!
      const id = known[collection]
      if (id === undefined) continue
      if (path.includes('{')) {
        const ask = async (wanted: string) => {
          const headers = { 'x-request-id': 'same', 'content-type': 'application/json' }
          const url = path.replaceAll(/\{[^}]*\}/g, encodeURIComponent(wanted))
          const { statusCode, body } = await api.app.inject({
            method,
            url,
            headers: method === 'GET' ? {} : headers,
            ...(method === 'POST' ? { payload: {} } : {}),
          })
          return { statusCode, body }
        }
        const missing = await ask(`${id.slice(0, -4)}0000`)
        expect(missing.statusCode, `${method} ${path}`).toBe(404)
        for (const end of ends) {
          expect(await ask(id + end), `${method} ${path} ${JSON.stringify(end)}`).toEqual(missing)
          asked++
        }
      } else if (parameters.some(({ name }) => name === 'after')) {
        for (const end of ends) {
          const answer = await get(`${path}?after=${encodeURIComponent(id + end)}`)
          expect(answer.statusCode, `${path} ${JSON.stringify(end)}`).toBe(400)
          expect(answer.json().error.param).toBe('query.after')
          asked++
        }
      }
    }
    expect(asked).toBeGreaterThan(ends.length * 12)
    expect(await readTypes()).toEqual(before)
  })

  it('is no cursor of events', async () => {
    const id = await create({ group: 'nightly' }, 'a job')
    await api.app.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` })
    for (const cursor of ['1:events', 'x', '-1', '1-', '9'.repeat(30), '1-1-1', `${'9'.repeat(30)}-1`]) {
      for (const path of [`/v1/jobs/${id}/events`, '/v1/groups/nightly/events']) {
        const answer = await api.app.inject({ url: path, headers: { 'last-event-id': cursor } })
        expect(answer.statusCode, `${path} ${cursor}`).toBe(400)
      }
    }
  })
})

it("keeps a group that an earlier version stored in the place of another group's parts", async () => {
  const root = api.root()
  const kept = await create({ group: 'lone:jobs' }, 'kept')
  // As it was stored: the hash under exactly that name, its parts behind it.
  const now = `${root}:group:lone%jobs`
  const then = `${root}:group:lone:jobs`
  for (const part of ['', ':jobs', ':events']) await api.redis.rename(now + part, then + part)
  const added = await create({ group: 'lone:jobs' }, 'added by a process of this version')
  const prefix = root.slice(0, root.indexOf(':{'))
  await api.redis.sadd(`${prefix}:tenants`, 'default')
  await Promise.all(
    [1, 2].map(() => moveGroups({ redis: api.redis, scripts: createScripts(api.redis, ALONE), prefix })),
  )
  expect((await get('/v1/groups/lone:jobs')).json()).toMatchObject({ total: 2, counts: { queued: 2 } })
  const listed = (await get('/v1/jobs?group=lone:jobs')).json().data.map((job: { id: string }) => job.id)
  expect(listed.sort()).toEqual([kept, added].sort())
  for (const id of [kept, added]) {
    expect((await api.app.inject({ method: 'POST', url: `/v1/jobs/${id}/cancel` })).statusCode).toBe(200)
  }
  const events = await get('/v1/groups/lone:jobs/events')
  expect(events.body.match(/^event: .*/gm)).toHaveLength(4)
  await create({ group: 'lone' }, 'whose parts stand there now')
})

it('takes names and texts that are no well-formed Unicode, wherever a client may put them', async () => {
  const lone = '\ud800'
  const jobs = [
    { type: 'embedding', body: { model: 'openai/embed', input: 'a', [lone]: lone } },
    { type: 'embedding', body: { model: 'openai/embed', input: [lone], user: lone } },
    chatJob({ metadata: { [lone]: lone } }, lone),
    { type: 'chat', body: { ...chatJob({}, 'hello').body, [lone]: { __proto__: null, [lone]: 1 } } },
  ]
  for (const [index, job] of jobs.entries()) {
    for (const headers of [{}, { 'idempotency-key': `key ${index}` }]) {
      const answer = await api.app.inject({
        method: 'POST',
        url: '/v1/jobs',
        headers: { 'content-type': 'application/json', ...headers },
        payload: JSON.stringify(job),
      })
      expect(answer.statusCode, `${index}: ${answer.body}`).toBeLessThan(300)
    }
  }
  expect(api.logged).toEqual([])
})
