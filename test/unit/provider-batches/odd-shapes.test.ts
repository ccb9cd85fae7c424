import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Agent } from 'undici'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { ProviderKind } from '../../../config/lanes.ts'
import { indexOf, type ProviderBatch } from '../../../provider-batches/batch.ts'
import type { LineResult } from '../../../provider-batches/providers/batch-api.ts'
import { createBatchApi } from '../../../provider-batches/providers/create-api.ts'
import { createAgent } from '../../../providers/connections.ts'

/** The provider's answers, by method and path. */
let answers: Record<string, unknown> = {}
let requests: { path: string; body: string }[] = []
/** The same, where the query decides. */
let respond: (path: string, query: URLSearchParams) => unknown = () => undefined
const server = createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  const { pathname, searchParams } = new URL(request.url!, 'http://provider')
  const path = `${request.method} ${pathname}`
  requests.push({ path, body })
  const answer = respond(path, searchParams) ?? answers[path]
  response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' })
  response.end(typeof answer === 'string' ? answer : JSON.stringify(answer ?? { error: { message: 'no' } }))
})
const dispatcher = new Agent()
beforeAll(() => new Promise<void>((done) => server.listen(0, '127.0.0.1', done)))
afterAll(async () => {
  await dispatcher.close()
  server.close()
})

/** The path of each kind's API on the server. */
const ROOTS: Partial<Record<ProviderKind, string>> = {
  openai: '/v1',
  'azure-openai': '/openai/v1',
  gemini: '/v1beta/openai',
  anthropic: '/v1',
}
const BASES: Partial<Record<ProviderKind, string>> = { ...ROOTS, 'azure-openai': '', anthropic: '' }
const batch = { id: 'pbatch_1', providerId: 'batch_1', type: 'chat', fileId: 'file-in', intentAt: 0 }

function open(kind: ProviderKind, said: Record<string, unknown>) {
  const { port } = server.address() as AddressInfo
  requests = []
  answers = Object.fromEntries(
    Object.entries(said).map(([path, answer]) => {
      const [method, rest] = path.split(' ')
      return [`${method} ${ROOTS[kind]}${rest}`, answer]
    }),
  )
  const base_url = `http://127.0.0.1:${port}${BASES[kind]}`
  return createBatchApi({ kind, base_url, api_key: 'k' }, dispatcher)
}

const isOver = (outcome: string) => ({ phase: 'over', outcome })
const OPEN = { phase: 'open', outcome: null }
const limit = {
  code: 'token_limit_exceeded',
  line: null,
  message:
    'Enqueued token limit reached for gpt-4o-mini in organization org-1. Limit: 2,000,000 enqueued tokens.',
  param: null,
}

test.each([
  ['openai', { status: 'validating' }, OPEN],
  ['openai', { status: 'in_progress' }, OPEN],
  ['openai', { status: 'finalizing' }, OPEN],
  ['openai', { status: 'a_new_one' }, OPEN],
  ['openai', { status: 'completed' }, { ...isOver('completed'), fault: null, resultFiles: [] }],
  ['openai', { status: 'completed', output_file_id: null, error_file_id: 'e' }, { resultFiles: ['e'] }],
  ['openai', { status: 'completed', output_file_id: 'o', error_file_id: '' }, { resultFiles: ['o'] }],
  [
    'openai',
    { status: 'expired', output_file_id: 'o', error_file_id: 'e' },
    { ...isOver('expired'), resultFiles: ['o', 'e'] },
  ],
  ['openai', { status: 'cancelled', errors: null }, { ...isOver('cancelled'), fault: null }],
  [
    'openai',
    { status: 'failed', errors: { object: 'list', data: [limit] } },
    { ...isOver('failed'), fault: { code: limit.code, message: limit.message } },
  ],
  [
    'openai',
    { status: 'failed', errors: { object: 'list', data: null } },
    { ...isOver('failed'), fault: null },
  ],
  [
    'openai',
    { status: 'failed', errors: { data: [{ message: 'why' }] } },
    { fault: { code: 'failed', message: 'why' } },
  ],
  [
    'azure-openai',
    {
      status: 'Validating',
      created_at: '2024-07-19T17:13:57.2491382+00:00',
      request_counts: { total: null },
    },
    OPEN,
  ],
  [
    'azure-openai',
    { status: 'Completed', output_file_id: 'o' },
    { ...isOver('completed'), resultFiles: ['o'] },
  ],
  ['gemini', { id: 'batches/g1', status: 'JOB_STATE_RUNNING' }, OPEN],
  [
    'gemini',
    { id: 'batches/g1', status: 'JOB_STATE_SUCCEEDED', output_file_id: 'files/o' },
    { ...isOver('completed'), resultFiles: ['files/o'] },
  ],
  ['gemini', { id: 'batches/g1', status: 'BATCH_STATE_EXPIRED' }, isOver('expired')],
  ['gemini', { id: 'batches/g1', status: 'canceled' }, isOver('cancelled')],
] as const)('a batch of %s: %j', async (kind, said, view) => {
  const api = open(kind, { 'GET /batches/batch_1': said })
  expect(await api.read(kind === 'gemini' ? 'batches/batch_1' : 'batch_1')).toMatchObject(view)
  expect(await api.read('batch_2')).toBeNull()
})

test.each([
  ['in_progress', null, OPEN],
  ['canceling', '2026-11-30T00:00:00Z', OPEN],
  ['ended', null, isOver('completed')],
  ['ended', '2026-11-30T00:00:00Z', isOver('cancelled')],
] as const)(
  'a batch of anthropic: %s, cancelled at %s',
  async (processing_status, cancel_initiated_at, view) => {
    const said = { processing_status, cancel_initiated_at, results_url: null }
    expect(await open('anthropic', { 'GET /messages/batches/batch_1': said }).read('batch_1')).toMatchObject(
      view,
    )
  },
)

test.each([
  ['openai', { status: 'cancelling', request_counts: { total: 3, completed: 2, failed: 1 } }, true, 2],
  ['openai', { status: 'in_progress' }, false, null],
  ['azure-openai', { status: 'Canceling', request_counts: { completed: null } }, true, null],
  ['gemini', { status: 'JOB_STATE_CANCELLING', request_counts: null }, true, null],
  ['anthropic', { processing_status: 'canceling', request_counts: { succeeded: 4 } }, true, 4],
  ['anthropic', { processing_status: 'in_progress' }, false, null],
] as const)(
  '%s says of a batch whether it is being cancelled, and how many answers it has: %j',
  async (kind, said, isCancelling, answered) => {
    const path = kind === 'anthropic' ? 'GET /messages/batches/batch_1' : 'GET /batches/batch_1'
    expect(await open(kind, { [path]: said }).read('batch_1')).toMatchObject({ isCancelling, answered })
  },
)

const nothing = (async function* () {})()

test.each([
  ['openai', 'POST /batches', {}],
  ['openai', 'POST /batches', { id: '' }],
  ['openai', 'POST /batches', 'null'],
  ['anthropic', 'POST /messages/batches', { id: 7 }],
  ['anthropic', 'POST /messages/batches', '[]'],
] as const)(
  'an answer of %s to the creation of a batch without an id says nothing about it: %s %j',
  async (kind, path, said) => {
    const created = open(kind, { [path]: said }).create(
      batch as ProviderBatch,
      nothing,
      AbortSignal.timeout(5000),
    )
    await expect(created).rejects.toMatchObject({ name: 'BatchApiError', status: null, isRefusal: false })
  },
)

const ours = { id: 'batch_9', metadata: { sluice_batch: 'pbatch_1' }, created_at: 2000 }
const others = (...at: number[]) => at.map((created_at) => ({ id: `other_${created_at}`, created_at }))

test.each([
  ['between entries that are none', [null, ...others(2100), ours], true],
  ['behind older ones, on a server that lists the oldest first', [...others(1, 2, 3), ours], true],
  ['by its file', [{ id: 'batch_9', input_file_id: 'file-in', metadata: null, created_at: 2000 }], true],
  ['nowhere', [null, ...others(2100, 2000)], false],
] as const)('a batch whose creation had no answer is found %s', async (_, all, isThere) => {
  // A page has two entries.
  const api = open('openai', {})
  respond = (path, query) => {
    if (path !== 'GET /v1/batches') return undefined
    const after = query.get('after')
    const from = after === null ? 0 : all.findIndex((one) => one?.id === after) + 1
    return { data: all.slice(from, from + 2), has_more: from + 2 < all.length }
  }
  onTestFinished(() => {
    respond = () => undefined
  })
  const found = await api.find({ ...batch, intentAt: 2_000_000 } as ProviderBatch, new Set())
  expect(found).toEqual(isThere ? { providerId: 'batch_9', isSure: true } : null)
})

test.each([
  ['as many lines as were sent', 3, true],
  ['as many lines as it was made with', 6, false],
])('a batch of anthropic is taken for ours that has %s', async (_, succeeded, isOurs) => {
  const entry = {
    ...{ id: 'msgbatch_1', created_at: new Date(2_000_000).toISOString() },
    request_counts: { succeeded, errored: 0, expired: 0, canceled: 0, processing: 0 },
  }
  const api = open('anthropic', { 'GET /messages/batches': { data: [null, entry], has_more: false } })
  const counts = { completed: 0, failed: 1, left: 1, dropped: 1 }
  const asked = { ...batch, intentAt: 2_000_000, rejected: [], lines: 6, counts, sentLines: null }
  const find = (more: object) => api.find({ ...asked, ...more } as unknown as ProviderBatch, new Set())
  const expected = isOurs ? { providerId: 'msgbatch_1', isSure: false } : null
  expect(await find({ sentLines: 3 })).toEqual(expected)
  // Of a version that did not note it.
  expect(await find({})).toEqual(expected)
})

test.each([
  ['pbatch_1-0', 0],
  ['pbatch_1-12', 12],
  ...[
    'pbatch_1-',
    'pbatch_1- 1',
    'pbatch_1-1.0',
    'pbatch_1-1e0',
    'pbatch_1-0x1',
    'pbatch_1-01',
    'pbatch_1--1',
  ].map((name) => [name, null] as const),
  ...['pbatch_2-0', 'pbatch_10', '', 7, null, undefined, {}].map((name) => [name, null] as const),
] as [unknown, number | null][])('the line that the name %j means', (name, index) => {
  expect(indexOf('pbatch_1', name)).toBe(index)
})

/** Of a line of OpenAI's files. */
const line = (members: object) => JSON.stringify({ id: 'batch_req_1', custom_id: 'pbatch_1-0', ...members })
const expiry = {
  code: 'batch_expired',
  message: 'This request could not be executed before the completion window expired.',
}
const undone = (code: string) => ({ customId: 'pbatch_1-0', kind: 'undone', code })
const refusal = {
  error: {
    message: 'too long',
    type: 'invalid_request_error',
    param: 'messages',
    code: 'context_length_exceeded',
  },
}

test.each([
  [line({ response: null, error: expiry }), undone('batch_expired')],
  [line({ response: null, error: { code: 'batch_cancelled', message: 'm' } }), undone('batch_cancelled')],
  [line({ response: null, error: { code: 'request_timeout', message: 'm' } }), undone('request_timeout')],
  [line({ error: { message: 'no code' } }), undone('no_response')],
  [line({ response: null, error: null }), undone('no_response')],
  [line({ response: { status_code: 0, body: null }, error: null }), undone('no_status')],
  [line({ response: { body: {} } }), undone('no_status')],
  [line({ response: { status_code: 'ok', body: {} } }), undone('no_status')],
  [line({ response: { status_code: '200', body: {} } }), { kind: 'answer', status: 200, body: '{}' }],
  [line({ error: { code: 'c'.repeat(5000) } }), undone('c'.repeat(100))],
  [
    line({ response: { status_code: 400, request_id: 'r', body: refusal }, error: null }),
    { kind: 'answer', status: 400, body: JSON.stringify(refusal) },
  ],
  [
    line({ response: { status_code: 200, body: { id: 'c', n: 1 } }, error: null }),
    { kind: 'answer', status: 200, body: '{"id":"c","n":1}' },
  ],
  [line({ response: { status_code: 200 } }), { kind: 'answer', status: 200, body: 'null' }],
  [
    '{"custom_id":"pbatch_1-0","response":{"status_code":200,"body":{"n":12345678901234567890}}}',
    { body: '{"n":12345678901234567890}' },
  ],
  ['not JSON', null],
  ['[]', null],
  ['null', null],
])('a line of a file of results: %s', async (text, expected) => {
  const api = open('openai', { 'GET /files/o/content': `${text}\r\n\n` })
  const view = { ...isOver('completed'), fault: null, resultFiles: ['o'] } as const
  expect(
    await read(api.results(batch as ProviderBatch, view as never, AbortSignal.timeout(5000))),
  ).toMatchObject(expected === null ? [] : [expected])
})

test.each(['openai', 'anthropic'] as const)(
  'results of %s that stop coming are an error, so that they are read again',
  async (kind) => {
    const silent = createServer((request, response) => {
      response.setHeader('content-type', 'application/json')
      if (!/\/(?:content|results)$/.test(request.url!)) return response.end('{"results_url":"there"}')
      response.write(`${line({})}\n`)
    })
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done))
    const impatient = createAgent(null, 50)
    onTestFinished(async () => {
      await impatient.destroy()
      silent.closeAllConnections()
      silent.close()
    })
    const base_url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
    const api = createBatchApi({ kind, base_url, api_key: 'k' }, impatient)
    const view = { ...isOver('completed'), fault: null, resultFiles: ['o'] } as const
    const reading = read(api.results(batch as ProviderBatch, view as never, new AbortController().signal))
    await expect(reading).rejects.toMatchObject({ name: 'BatchApiError', status: null })
  },
)

const result = (members: object) => JSON.stringify({ custom_id: 'pbatch_1-0', result: members })

test.each([
  [result({ type: 'canceled' }), undone('batch_canceled')],
  [result({ type: 'expired' }), undone('batch_expired')],
  [result({ type: 'a_new_one' }), undone('batch_a_new_one')],
  [JSON.stringify({ custom_id: 'pbatch_1-0', result: null }), undone('no_response')],
  [result({ type: 'succeeded', message: { id: 'm' } }), { kind: 'answer', status: 200, body: '{"id":"m"}' }],
  // The error is wrapped as in a call, or alone.
  [
    result({
      type: 'errored',
      error: { type: 'error', error: { type: 'invalid_request_error', message: 'm' } },
    }),
    { status: 400 },
  ],
  [result({ type: 'errored', error: { type: 'overloaded_error', message: 'm' } }), { status: 529 }],
  [
    result({ type: 'errored', error: { type: 'error', error: { type: 'a_new_one', message: 'm' } } }),
    { status: 500 },
  ],
  [result({ type: 'errored' }), undone('batch_errored')],
  ['not JSON', null],
])('a result of anthropic: %s', async (text, expected) => {
  const api = open('anthropic', {
    'GET /messages/batches/batch_1': { results_url: 'https://elsewhere.example/results' },
    'GET /messages/batches/batch_1/results': text,
  })
  const view = { ...isOver('completed'), fault: null, resultFiles: [] } as const
  expect(
    await read(api.results(batch as ProviderBatch, view as never, AbortSignal.timeout(5000))),
  ).toMatchObject(expected === null ? [] : [expected])
})

test.each([
  ['openai', 'chat', '/v1/chat/completions', '/v1/chat/completions'],
  ['openai', 'embedding', '/v1/embeddings', '/v1/embeddings'],
  ['azure-openai', 'chat', '/v1/chat/completions', '/chat/completions'],
  ['azure-openai', 'response', '/v1/responses', '/v1/responses'],
] as const)('%s has lines for %s at %s in batches for %s', async (kind, type, url, endpoint) => {
  const api = open(kind, { 'POST /files': { id: 'file-in' }, 'POST /batches': { id: 'batch_1' } })
  const lines = (async function* () {
    yield { customId: 'pbatch_1-0', body: '{"model":"m"}' }
  })()
  const asked = { ...batch, type } as ProviderBatch
  const signal = AbortSignal.timeout(5000)
  expect(await api.upload!(asked, lines, signal)).toBe('file-in')
  expect(await api.create(asked, lines, signal)).toBe('batch_1')
  expect(requests[0]!.body).toContain(
    `{"custom_id":"pbatch_1-0","method":"POST","url":"${url}","body":{"model":"m"}}`,
  )
  expect(JSON.parse(requests[1]!.body)).toEqual({
    ...{ input_file_id: 'file-in', endpoint, completion_window: '24h' },
    metadata: { sluice_batch: 'pbatch_1' },
  })
})

async function read(results: AsyncIterable<LineResult>): Promise<LineResult[]> {
  const all: LineResult[] = []
  for await (const one of results) all.push(one)
  return all
}
