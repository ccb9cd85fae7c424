import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createFileStore } from '../../../files/store.ts'
import { acmeKey, createTestApi, otherKey, type TestApi, testTenants } from '../../helpers/api.ts'
import { testSealer } from '../../helpers/encryption.ts'

let api: TestApi
beforeEach(async () => {
  api = await createTestApi({ tenants: testTenants })
})
afterEach(() => api.close())

let files = 0
async function upload(tenant: string, purpose = 'batch'): Promise<string> {
  const store = createFileStore({
    redis: api.redis,
    root: api.root,
    now: Date.now,
    newId: () => `file-${++files}`,
    maxBytes: () => 1e6,
    sealer: testSealer(),
    objects: null,
  })
  const file = { filename: 'in.jsonl', purpose, expiresAt: null }
  return (await store.create(tenant, file, Readable.from([Buffer.from('{}')]))).id
}

type Options = { key?: string; body?: object; headers?: Record<string, string> }
async function call(method: 'GET' | 'POST', url: string, { key = acmeKey, body, headers }: Options = {}) {
  const reply = await api.app.inject({
    method,
    url,
    headers: { authorization: `Bearer ${key}`, ...headers },
    ...(body === undefined ? {} : { payload: body }),
  })
  return { status: reply.statusCode, headers: reply.headers, text: reply.body, body: reply.json() }
}

const batchOf = (inputFileId: string, members: object = {}) => ({
  input_file_id: inputFileId,
  endpoint: '/v1/chat/completions',
  completion_window: '24h',
  ...members,
})
const create = (body: object, options: Options = {}) => call('POST', '/v1/batches', { ...options, body })

describe('a new batch', () => {
  it('is answered as OpenAI shapes it, with every member', async () => {
    const input = await upload('acme')
    const { status, body } = await create(batchOf(input, { metadata: { a: 'b' } }))
    expect(status).toBe(200)
    expect(body).toEqual({
      id: expect.stringMatching(/^batch_\w+$/),
      object: 'batch',
      endpoint: '/v1/chat/completions',
      model: null,
      errors: null,
      input_file_id: input,
      completion_window: '24h',
      status: 'validating',
      output_file_id: null,
      error_file_id: null,
      created_at: expect.any(Number),
      in_progress_at: null,
      expires_at: body.created_at + 86_400,
      finalizing_at: null,
      completed_at: null,
      failed_at: null,
      expired_at: null,
      cancelling_at: null,
      cancelled_at: null,
      request_counts: { total: 0, completed: 0, failed: 0 },
      usage: {
        input_tokens: 0,
        input_tokens_details: { cached_tokens: 0 },
        output_tokens: 0,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: 0,
      },
      metadata: { a: 'b' },
    })
    expect((await call('GET', `/v1/batches/${body.id}`)).body).toEqual(body)
  })

  it('may have a shorter window', async () => {
    const { body } = await create(batchOf(await upload('acme'), { completion_window: '3h' }))
    expect(body.expires_at - body.created_at).toBe(3 * 3600)
  })

  it.each([
    ['completion_window', { completion_window: '25h' }],
    ['completion_window', { completion_window: '0h' }],
    ['endpoint', { endpoint: '/v1/nothing' }],
    ['metadata.a', { metadata: { a: 1 } }],
    ['output_expires_after.seconds', { output_expires_after: { anchor: 'created_at', seconds: 60 } }],
  ])('is refused for an invalid %s', async (param, members) => {
    const { status, body } = await create(batchOf(await upload('acme'), members))
    expect(status).toBe(400)
    expect(body.error).toMatchObject({ code: 'invalid_request', param })
  })

  it('needs a file that was uploaded for batches', async () => {
    const { status, body } = await create(batchOf(await upload('acme', 'batch_output')))
    expect(status).toBe(400)
    expect(body.error).toMatchObject({ code: 'invalid_request', param: 'input_file_id' })
  })

  it('is the same one for the same idempotency key, and a conflict for another payload', async () => {
    const input = await upload('acme')
    const headers = { 'idempotency-key': 'once' }
    const first = await create(batchOf(input), { headers })
    const again = await create(batchOf(input), { headers })
    expect(again.body.id).toBe(first.body.id)
    expect(again.headers['idempotent-replayed']).toBe('true')
    const other = await create(batchOf(input, { metadata: { a: 'b' } }), { headers })
    expect(other.status).toBe(422)
    expect(other.body.error.code).toBe('idempotency_key_reused')
  })
})

describe('a batch or file of another tenant', () => {
  it('gets exactly the bytes of one that does not exist', async () => {
    const foreignFile = await upload('other')
    const { body: foreign } = await create(batchOf(foreignFile), { key: otherKey })
    const pairs: [string, string, object?][] = [
      [`/v1/batches/${foreign.id}`, '/v1/batches/batch_none'],
      [`/v1/batches/${foreign.id}/cancel`, '/v1/batches/batch_none/cancel'],
    ]
    for (const [theirs, none] of pairs) {
      const method = theirs.endsWith('cancel') ? 'POST' : 'GET'
      const [one, other] = [await call(method, theirs), await call(method, none)]
      expect(one.status).toBe(404)
      expect(one.text).toBe(other.text)
    }
    const [one, other] = [await create(batchOf(foreignFile)), await create(batchOf('file-none'))]
    expect(one.status).toBe(404)
    expect(one.text).toBe(other.text)
    expect((await call('GET', '/v1/batches')).body.data).toEqual([])
    expect((await call('GET', `/v1/batches/${foreign.id}`, { key: otherKey })).body.status).toBe('validating')
  })

  it('cannot be reached by texts that name keys beside it', async () => {
    const { body } = await create(batchOf(await upload('acme')))
    for (const name of ['layout', 'open', 'tallies', 'lease']) {
      expect((await call('GET', `/v1/batches/${body.id}:${name}`)).status).toBe(404)
    }
  })
})

describe('the list of batches', () => {
  it('has the newest first, page by page', async () => {
    const input = await upload('acme')
    const ids: string[] = []
    for (let count = 0; count < 5; count++) ids.unshift((await create(batchOf(input))).body.id)
    const first = await call('GET', '/v1/batches?limit=2')
    expect(first.body).toMatchObject({ object: 'list', has_more: true, first_id: ids[0], last_id: ids[1] })
    const second = await call('GET', `/v1/batches?limit=2&after=${ids[1]}`)
    expect(second.body.data.map(({ id }: { id: string }) => id)).toEqual(ids.slice(2, 4))
    const last = await call('GET', `/v1/batches?limit=2&after=${ids[3]}`)
    expect(last.body).toMatchObject({ has_more: false, first_id: ids[4], last_id: ids[4] })
  })

  it('skips those that have expired', async () => {
    const input = await upload('acme')
    const ids: string[] = []
    for (let count = 0; count < 3; count++) ids.unshift((await create(batchOf(input))).body.id)
    await api.redis.del(`${api.root('acme')}:batch:${ids[1]}`)
    const page = await call('GET', '/v1/batches?limit=2')
    expect(page.body.data.map(({ id }: { id: string }) => id)).toEqual([ids[0], ids[2]])
    expect(page.body.has_more).toBe(false)
  })
})

it('a batch is cancelling at once, also when that is requested twice', async () => {
  const { body } = await create(batchOf(await upload('acme')))
  const path = `/v1/batches/${body.id}/cancel`
  for (const { status, body: answer } of [await call('POST', path), await call('POST', path)]) {
    expect(status).toBe(200)
    expect(answer).toMatchObject({ status: 'cancelling', cancelling_at: expect.any(Number) })
  }
})
