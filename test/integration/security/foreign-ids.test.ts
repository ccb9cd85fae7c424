import fc from 'fast-check'
import type { InjectOptions } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import {
  acmeKey,
  answeringProvider,
  chatJob,
  createTestApi,
  otherKey,
  type TestApi,
  testTenants,
} from '../../helpers/api.ts'
import { type Operation, readOperations } from '../../helpers/openapi.ts'
import { fromSchema } from '../../helpers/schema-arbitrary.ts'

const asAcme = { authorization: `Bearer ${acmeKey}` }
const asOther = { authorization: `Bearer ${otherKey}` }

let api: TestApi
let operations: Operation[]
let schemas: Record<string, JsonObject>
/** An object of acme in each collection, by the part of the path behind `/v1/`. */
let own: Record<string, string>

beforeAll(async () => {
  api = await createTestApi({ tenants: testTenants, overrides: { providers: answeringProvider } })
  ;({ operations, schemas } = await readOperations(api.app))
  own = {}
  for (const collection of new Set(withIds().map(collectionOf))) own[collection] = await make(collection)
})
afterAll(() => api.close())

/**
 * What belongs to no tenant: only administrators reach lanes and tenants, models are the same for all, and a token is
 * a key of its own.
 */
const COMMON = ['lanes', 'models', 'tenants', 'file-links']

/** Operations on one object that belongs to a tenant. */
const withIds = () =>
  operations.filter(({ path }) => path.includes('{') && !COMMON.includes(collectionOf({ path })))
/**
 * Ids that clients choose: a tenant that puts something under another's id creates its own object, as durable.test.ts
 * shows.
 */
const makesItsOwn = ({ method }: Pick<Operation, 'method'>) => method === 'PUT'
const collectionOf = ({ path }: Pick<Operation, 'path'>) => path.split('/')[2]!

/** A path with this id in it; steps of flows are called `a`. */
function fillIn(path: string, id: string): string {
  return path.replace('/v1/flows/{id}/steps/{step}', `/v1/flows/${id}/steps/a`).replaceAll(/\{[^}]*\}/g, id)
}

async function create(url: string, payload: object): Promise<string> {
  const response = await api.app.inject({ method: 'POST', url, headers: asAcme, payload })
  expect(response.statusCode, response.body).toBeLessThan(300)
  return response.json().id
}

/** If you add routes under a new collection, add here how to create an object of it. */
const makers: Record<string, () => Promise<string>> = {
  jobs: () => create('/v1/jobs', chatJob({ group: 'nightly' }, 'a job')),
  async groups() {
    await create('/v1/jobs', chatJob({ group: 'weekly' }, 'a job of a group'))
    const budget = { method: 'PUT' as const, url: '/v1/groups/weekly/budget', headers: asAcme }
    await api.app.inject({ ...budget, payload: { usd: 5 } })
    return 'weekly'
  },
  async deliveries() {
    const webhook = { url: 'https://receiver.example/', events: ['job.completed'] }
    const id = await create('/v1/jobs', chatJob({ webhook }, 'a job with a webhook'))
    await api.worker.finish(id)
    const listed = await api.app.inject({ url: `/v1/jobs/${id}/deliveries`, headers: asAcme })
    return listed.json().data[0].id
  },
  async durable() {
    const response = await api.app.inject({
      method: 'PUT',
      url: '/v1/durable/report/steps/report',
      headers: asAcme,
      payload: { signal: {} },
    })
    expect(response.statusCode, response.body).toBe(201)
    return 'report'
  },
  responses: () => create('/v1/responses', { model: 'openai/small', input: 'hello', background: true }),
  schedules: () => create('/v1/schedules', { every: '1h', job: chatJob({}, 'a job of a schedule') }),
  flows: () => create('/v1/flows', { name: 'f', steps: { a: { job: chatJob({}, 'a job of a flow') } } }),
  files: () => createFile(),
  messages: () => {
    const messages = [{ role: 'user', content: 'hello' }]
    const params = { model: 'openai/small', max_tokens: 10, messages }
    return create('/v1/messages/batches', { requests: [{ custom_id: 'one', params }] })
  },
  async conversations() {
    await api.deps.providers.state.remember('acme', 'conv_0a1b2c3d4e', 'openai')
    return 'conv_0a1b2c3d4e'
  },
  async chat() {
    await api.deps.providers.state.remember('acme', 'chatcmpl-0a1b2c3d4e', 'openai')
    return 'chatcmpl-0a1b2c3d4e'
  },
  async batches() {
    const input_file_id = await createFile()
    return create('/v1/batches', {
      input_file_id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    })
  },
}

async function make(collection: string): Promise<string> {
  const maker = makers[collection]
  if (maker === undefined) throw new Error(`add to makers how to create an object of /v1/${collection}`)
  return maker()
}

async function createFile(): Promise<string> {
  const line = { custom_id: '1', method: 'POST', url: '/v1/chat/completions', body: chatJob().body }
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new Blob([`${JSON.stringify(line)}\n`]), 'batch.jsonl')
  const request = new Request('http://localhost/', { method: 'POST', body: form })
  const response = await api.app.inject({
    method: 'POST',
    url: '/v1/files',
    headers: { ...asAcme, 'content-type': request.headers.get('content-type')! },
    payload: Buffer.from(await request.arrayBuffer()),
  })
  expect(response.statusCode, response.body).toBeLessThan(300)
  return response.json().id
}

/** Of the same form, but it does not exist. */
const missing = (id: string) => id.slice(0, -1) + (id.endsWith('a') ? 'b' : 'a')

/** All that a client can see of an answer, without the time and the id of its own request. */
async function look(request: InjectOptions, id: string) {
  const headers = { ...asOther, 'x-request-id': 'same', ...request.headers }
  const { statusCode, headers: sent, body } = await api.app.inject({ ...request, headers })
  const { date, ...rest } = sent
  // Anthropic's errors name the request.
  const text = body.replaceAll(id, 'ID').replace(/"request_id":"[^"]*"/, '')
  return { status: statusCode, headers: rest, body: text, dated: date !== undefined }
}

/** Ways to ask that make some routes wait, or stream. */
const manners: { query?: Record<string, string>; headers?: Record<string, string> }[] = [
  {},
  { query: { wait: '0.01', stream: 'true', starting_after: '1' }, headers: { 'last-event-id': '1' } },
  { query: { limit: '1' }, headers: { prefer: 'wait=0.01', accept: 'text/event-stream' } },
]

describe('an id of another tenant', () => {
  it('gets the bytes of an id that never existed on every route that takes one, and changes nothing', async () => {
    const before = await readAll()
    for (const operation of withIds().filter((one) => !makesItsOwn(one))) {
      const { method, path, body, parameters } = operation
      const foreign = own[collectionOf(operation)]!
      const [payload] = body === null ? [] : fc.sample(fromSchema(body, schemas), { numRuns: 1, seed: 1 })
      for (const { query: members = {}, headers = {} } of manners) {
        // Those that the route knows: others are refused before it looks for anything.
        const pairs = Object.entries(members).filter(([name]) => parameters.some((one) => one.name === name))
        const query = `?${new URLSearchParams(pairs)}`
        const ask = (id: string) =>
          look(
            {
              method,
              url: fillIn(path, id) + query,
              headers,
              ...(payload === undefined ? {} : { payload: payload as object }),
            },
            id,
          )
        const answer = await ask(foreign)
        expect(answer, `${method} ${path}${query}`).toEqual(await ask(missing(foreign)))
        expect([400, 404], `${method} ${path}${query}`).toContain(answer.status)
      }
      // Without a body that could be refused before, the answer is that the object does not exist.
      if (body === null) {
        const plain = await look({ method, url: fillIn(path, foreign) }, foreign)
        expect(plain.status, `${method} ${path}`).toBe(404)
      }
    }
    expect(await readAll()).toEqual(before)
  })

  it('is refused on every route that takes one, with the bytes of an id that never existed, when its tenant is named', async () => {
    for (const operation of withIds()) {
      const { method, path } = operation
      const foreign = own[collectionOf(operation)]!
      const ask = (id: string) => look({ method, url: fillIn(path, id), headers: { 'x-tenant': 'acme' } }, id)
      const answer = await ask(foreign)
      expect(answer, `${method} ${path}`).toEqual(await ask(missing(foreign)))
      expect(answer.status, `${method} ${path}`).toBe(403)
    }
  })

  it('finds nothing in any list, like an id that never existed', async () => {
    // The stream of everything goes on; events.test.ts tests whose events it has.
    const lists = operations.filter(
      ({ method, path }) => method === 'GET' && !path.includes('{') && path !== '/v1/events',
    )
    let asked = 0
    for (const { path, parameters } of lists) {
      for (const { name } of parameters.filter((parameter) => parameter.in === 'query')) {
        for (const foreign of Object.values(own)) {
          const ask = (id: string) => look({ url: `${path}?${name}=${id}` }, id)
          expect(await ask(foreign), `${path}?${name}=${foreign}`).toEqual(await ask(missing(foreign)))
          asked++
        }
      }
    }
    expect(asked).toBeGreaterThan(10)
  })

  it('means nothing in a body, like an id that never existed', async () => {
    const references = [
      { collection: 'groups', url: '/v1/jobs/retry', body: (group: string) => ({ group }) },
      {
        collection: 'files',
        url: '/v1/batches',
        body: (id: string) => ({
          input_file_id: id,
          endpoint: '/v1/chat/completions',
          completion_window: '24h',
        }),
      },
      {
        collection: 'responses',
        url: '/v1/responses',
        body: (id: string) => ({ model: 'openai/small', input: 'hi', previous_response_id: id }),
      },
    ].filter(({ url }) => operations.some(({ method, path }) => method === 'POST' && path === url))
    for (const { collection, url, body } of references) {
      const foreign = own[collection]
      if (foreign === undefined) continue
      const ask = (id: string) =>
        look({ method: 'POST', url, payload: body(id), headers: { prefer: 'respond-async' } }, id)
      expect(await ask(foreign), url).toEqual(await ask(missing(foreign)))
    }
  })

  it('was real all the time: its owner finds it on every route that reads', async () => {
    for (const { status, route } of await readAll()) expect(status, route).toBeLessThan(300)
  })
})

/** A batch of messages has nothing to read before its end. */
const COMES_LATER = '/v1/messages/batches/{id}/results'

/** What acme reads of its own objects, except for event streams, which go on. */
async function readAll() {
  const readers = withIds().filter(
    ({ method, path }) => method === 'GET' && !path.endsWith('/events') && path !== COMES_LATER,
  )
  const answers = []
  for (const operation of readers) {
    const route = fillIn(operation.path, own[collectionOf(operation)]!)
    const { statusCode, body } = await api.app.inject({ url: route, headers: asAcme })
    // A forecast moves with the clock.
    const steady = body.replaceAll(/"estimated_\w+":"[^"]+"/g, '')
    answers.push({ route, status: statusCode, body: steady })
  }
  return answers
}
