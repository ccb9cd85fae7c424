import Anthropic from '@anthropic-ai/sdk'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createSimulator } from '../../../simulator/simulator.ts'

let time = 1_800_000_000_000
const simulator = createSimulator({ now: () => time, batches: { turnaroundMs: 1000 } })
let openai: OpenAI
let anthropic: Anthropic

beforeAll(async () => {
  const url = await simulator.listen()
  openai = new OpenAI({ apiKey: 'any', baseURL: url, maxRetries: 0 })
  anthropic = new Anthropic({ apiKey: 'any', baseURL: url.replace(/\/v1$/, ''), maxRetries: 0 })
})
afterAll(() => simulator.close())
beforeEach(() => simulator.reset())

type Line = { custom_id: string; response: { status_code: number; body: object } | null; error: unknown }

function line(id: string, content: string, model = 'gpt-5-mini'): string {
  const body = { model, messages: [{ role: 'user', content }] }
  return JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/chat/completions', body })
}

async function create(lines: string[], metadata: Record<string, string> = {}) {
  const file = await openai.files.create({
    file: await toFile(Buffer.from(`${lines.join('\n')}\n`), 'in.jsonl'),
    purpose: 'batch',
  })
  const created = await openai.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    metadata,
  })
  expect(created.status).toBe('validating')
  return created.id
}

async function readFile(id: string | null | undefined): Promise<Line[]> {
  if (!id) return []
  const text = await (await openai.files.content(id)).text()
  return text
    .trim()
    .split('\n')
    .map((one) => JSON.parse(one) as Line)
}

test('a batch goes through its states, and bills each line once', async () => {
  const id = await create([line('a', 'one'), line('b', 'two [[fault:400]]'), line('c', 'three')], {
    ours: 'x',
  })
  time += 500
  expect((await openai.batches.retrieve(id)).status).toBe('in_progress')
  time += 500
  const done = await openai.batches.retrieve(id)
  expect(done).toMatchObject({ status: 'completed', metadata: { ours: 'x' } })
  expect(done.request_counts).toEqual({ total: 3, completed: 2, failed: 1 })
  const output = await readFile(done.output_file_id)
  expect(output.map((one) => one.custom_id).sort()).toEqual(['a', 'c'])
  expect(output[0]!.response!.body).toMatchObject({ service_tier: 'batch' })
  expect(await readFile(done.error_file_id)).toMatchObject([
    { custom_id: 'b', response: { status_code: 400 } },
  ])
  const billed = simulator.calls().map((call) => [call.batch, call.custom_id])
  expect(billed.sort()).toEqual([
    [id, 'a'],
    [id, 'c'],
  ])
})

test('lines are lost, come back with status 0, or expire', async () => {
  const lines = ['lost_line', 'zero_line', 'null_line', 'expired_line'].map((kind) =>
    line(kind, `[[fault:${kind}]]`),
  )
  const id = await create(lines)
  time += 1000
  const done = await openai.batches.retrieve(id)
  const told = [...(await readFile(done.output_file_id)), ...(await readFile(done.error_file_id))]
  const byId = Object.fromEntries(told.map((one) => [one.custom_id, one]))
  expect(Object.keys(byId).sort()).toEqual(['expired_line', 'null_line', 'zero_line'])
  expect(byId.zero_line!.response!.status_code).toBe(0)
  expect(byId.null_line).toMatchObject({ response: null, error: null })
  expect(byId.expired_line).toMatchObject({ response: null, error: { code: 'batch_expired' } })
  expect(simulator.calls()).toEqual([])
})

test('a cancel leaves what is done, and the queue of a model has a limit', async () => {
  const id = await create(Array.from({ length: 10 }, (_, index) => line(`l${index}`, `prompt ${index}`)))
  time += 500
  await openai.batches.cancel(id)
  const over = await openai.batches.retrieve(id)
  expect(over.status).toBe('cancelled')
  expect(await readFile(over.output_file_id)).toHaveLength(5)
  expect(await readFile(over.error_file_id)).toHaveLength(5)

  simulator.batches.set({ maxQueuedTokens: 20, turnaroundMs: 1e9 })
  await create([line('x', 'a prompt of some forty characters length')])
  const refused = await openai.batches.retrieve(
    await create([line('y', 'another prompt of forty characters ……')]),
  )
  expect(refused).toMatchObject({ status: 'failed', errors: { data: [{ code: 'token_limit_exceeded' }] } })
  simulator.batches.endAll('expire')
  const states = (await openai.batches.list()).data.map(({ status }) => status)
  expect(states).toEqual(['failed', 'expired', 'cancelled'])
})

test('a batch with lines of two models fails, and an answer can be lost after the work', async () => {
  const mixed = await openai.batches.retrieve(await create([line('a', 'x'), line('b', 'x', 'other')]))
  expect(mixed.errors?.data?.[0]?.code).toBe('mismatched_model')
  simulator.setFaults([{ kind: 'reset_after', path: 'POST /v1/batches', times: 1 }])
  await expect(create([line('a', 'x')], { ours: 'lost' })).rejects.toThrow()
  const listed = await openai.batches.list({ limit: 1 })
  expect(listed.data[0]!.metadata).toEqual({ ours: 'lost' })
  expect(listed.has_more).toBe(true)
})

test('message batches answer as Anthropic does', async () => {
  const request = (custom_id: string, content: string) => ({
    custom_id,
    params: { model: 'claude-haiku-4-5', max_tokens: 64, messages: [{ role: 'user' as const, content }] },
  })
  const requests = [
    request('a', 'hello'),
    request('b', '[[fault:400]]'),
    request('c', '[[fault:expired_line]]'),
  ]
  const batch = await anthropic.messages.batches.create({ requests })
  expect(batch).toMatchObject({ processing_status: 'in_progress', request_counts: { processing: 3 } })
  time += 1000
  expect(await anthropic.messages.batches.retrieve(batch.id)).toMatchObject({
    processing_status: 'ended',
    request_counts: { succeeded: 1, errored: 1, expired: 1, processing: 0 },
  })
  const results = new Map<string, string>()
  for await (const one of await anthropic.messages.batches.results(batch.id)) {
    results.set(one.custom_id, one.result.type)
  }
  expect(Object.fromEntries(results)).toEqual({ a: 'succeeded', b: 'errored', c: 'expired' })
  await anthropic.messages.batches.delete(batch.id)
  expect((await anthropic.messages.batches.list()).data).toEqual([])
  const bad = anthropic.messages.batches.create({ requests: [request('a b', 'hello')] })
  await expect(bad).rejects.toThrow(/custom_id/)
})
