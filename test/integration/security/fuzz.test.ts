import fc, { type Arbitrary } from 'fast-check'
import type { InjectOptions } from 'fastify'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { JsonObject } from '../../../lib/json.ts'
import { answeringProvider, createTestApi, type TestApi } from '../../helpers/api.ts'
import { type Operation, readOperations } from '../../helpers/openapi.ts'
import { aroundSchema, fromSchema, nastyText } from '../../helpers/schema-arbitrary.ts'
import { seed } from '../../helpers/seed.ts'

const BODIES = 10_000
const OTHERS = 1_500
/** Requests under way at once. */
const CONCURRENCY = 16

let api: TestApi
let operations: Operation[]
let schemas: Record<string, JsonObject>
// Each test has its own store: an event stream of an existing object would not end.
beforeEach(async () => {
  api = await createTestApi({ limits: { bodyBytes: 100_000 }, overrides: { providers: answeringProvider } })
  const described = await readOperations(api.app)
  schemas = described.schemas
  // Streams of everything exist always, and go on.
  const endless = ['/v1/overview/events', '/v1/events']
  operations = described.operations.filter(({ path }) => !endless.includes(path))
})
afterEach(() => api.close())

it('answers ten thousand bodies, from the schemas and around them, without a fault of its own', async () => {
  const takers = operations.filter(({ body }) => body !== null)
  expect(takers.length).toBeGreaterThan(4)
  const share = Math.ceil(BODIES / takers.length)
  const statuses = await sendAll(
    takers.flatMap((operation, index) =>
      fc.sample(requestWithBody(operation), { numRuns: share, seed: seed + index }),
    ),
  )
  expect(statuses.size).toBeGreaterThan(3)
  const total = [...statuses.values()].reduce((sum, count) => sum + count, 0)
  expect(total).toBeGreaterThanOrEqual(BODIES)
  // Not everything is refused: some of it is accepted and has to be stored.
  expect((statuses.get(202) ?? 0) + (statuses.get(200) ?? 0)).toBeGreaterThan(BODIES / 100)
}, 120_000)

it('answers paths, queries and headers of every kind in the same way', async () => {
  const share = Math.ceil(OTHERS / operations.length)
  const requests = operations.flatMap((operation, index) =>
    fc.sample(requestWithout(operation), { numRuns: share, seed: seed + index }),
  )
  expect((await sendAll(requests)).size).toBeGreaterThan(2)
}, 60_000)

/** How often each status was answered. Fails at the first answer that is not one of ours. */
async function sendAll(requests: InjectOptions[]): Promise<Map<number, number>> {
  const statuses = new Map<number, number>()
  const left = requests.values()
  const send = async () => {
    for (const request of left) {
      const { statusCode, headers, body } = await api.app.inject(request)
      const told = `seed ${seed}: ${statusCode} ${body.slice(0, 300)} for ${JSON.stringify(request)}`
      // 501 and the like would be faults, too; a pause of the store would be 503.
      expect(statusCode, told).toBeLessThan(500)
      expect(headers, told).not.toHaveProperty('x-injected')
      expect(headers['x-request-id'], told).toMatch(/^[\w.-]{1,128}$/)
      if (statusCode >= 400) {
        const { error } = JSON.parse(body)
        expect(Object.keys(error).sort(), told).toEqual(['code', 'message', 'param', 'type'])
      }
      statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, send))
  expect(api.logged).toEqual([])
  expect((await api.app.inject({ url: '/healthz' })).statusCode).toBe(200)
  return statuses
}

function requestWithBody(operation: Operation): Arbitrary<InjectOptions> {
  const { method, body } = operation
  const value = fc.oneof(
    { weight: 3, arbitrary: fromSchema(body ?? {}, schemas) },
    { weight: 6, arbitrary: aroundSchema(body ?? {}, schemas) },
  )
  const payload = fc.oneof(
    { weight: 12, arbitrary: value.map((one) => JSON.stringify(one)) },
    { weight: 2, arbitrary: fc.tuple(value, fc.nat(), nastyText).map(cutAndFill) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)) },
    { weight: 1, arbitrary: fc.constantFrom(...MALFORMED) },
  ) as Arbitrary<string | Buffer>
  return fc.record({ url: pathOf(operation), payload }).map(({ url, payload }) => ({
    method,
    url,
    payload,
    headers: { 'content-type': 'application/json', ...NOT_HELD },
  }))
}

function requestWithout(operation: Operation): Arbitrary<InjectOptions> {
  const query = fc.dictionary(
    fc.constantFrom('limit', 'after', 'status', 'group', 'lane', 'wait', 'last_event_id', 'x'),
    nastyText,
    { maxKeys: 3 },
  )
  const headers = fc.dictionary(
    fc.constantFrom('x-request-id', 'idempotency-key', 'last-event-id', 'cache-control', 'authorization'),
    // A text that no header can contain never leaves a client.
    nastyText.map((text) => text.replaceAll(/[^\x20-\x7e\x80-\xff]/g, '').trim()),
    { maxKeys: 3 },
  )
  return fc.tuple(pathOf(operation), query, headers).map(([path, pairs, sent]) => ({
    method: operation.method,
    url: `${path}?${new URLSearchParams(Object.fromEntries(Object.entries(pairs).map(wellFormed)))}`,
    headers: { ...sent, ...NOT_HELD },
  }))
}

/** So that an answer is not held until a worker has done the job: there is none. */
const NOT_HELD = { prefer: 'respond-async' }

const MALFORMED = [
  '',
  '{',
  '[',
  '"',
  'null',
  '[]{}',
  '{"type":"chat","type":"chat"}',
  '\ufeff{}',
  '{"__proto__":1}',
  `${'['.repeat(5_000)}${']'.repeat(5_000)}`,
  `{"a":${'9'.repeat(5_000)}}`,
  '{"a":1e999}',
  `{"type":"chat","body":{"model":"openai/small","messages":[{"role":"user","content":"${'x'.repeat(200_000)}"}]}}`,
]

/** Each path parameter becomes anything that a URL can carry. */
function pathOf({ path }: Operation): Arbitrary<string> {
  return fc
    .array(fc.oneof(nastyText, fc.constantFrom('job_1', 'openai/small', 'nightly')), {
      minLength: 3,
      maxLength: 3,
    })
    .map((texts) => {
      let next = 0
      return path.replaceAll(/\{[^}]*\}/g, () => encodeURIComponent(texts[next++ % 3]!.toWellFormed()))
    })
}

function cutAndFill([value, at, text]: [unknown, number, string]): string {
  const json = JSON.stringify(value)
  const place = at % (json.length + 1)
  return at % 2 === 0 ? json.slice(0, place) : json.slice(0, place) + text + json.slice(place)
}

const wellFormed = ([name, value]: [string, string]) => [name, value.toWellFormed()]
