import OpenAI, { toFile } from 'openai'
import type { Batch } from 'openai/resources'
import { expect, onTestFinished, test } from 'vitest'
import { type Stack, startStack } from '../helpers/stack.ts'
import { until } from '../helpers/store.ts'

type ResultLine = {
  custom_id: string
  response: { status_code: number; body: { choices?: unknown[]; error?: object } } | null
  error: { code: string } | null
}

const openClient = (stack: Stack, api = 0) =>
  new OpenAI({ baseURL: `${stack.urls[api]}/v1`, apiKey: 'unused', maxRetries: 0 })

const chat = (customId: string, content: string, url = '/v1/chat/completions') => ({
  custom_id: customId,
  method: 'POST',
  url,
  body: { model: 'sim/chat', messages: [{ role: 'user', content }] },
})

async function createBatch(client: OpenAI, lines: object[]): Promise<Batch> {
  const text = lines.map((line) => JSON.stringify(line)).join('\n')
  const file = await client.files.create({
    file: await toFile(Buffer.from(text), 'in.jsonl'),
    purpose: 'batch',
  })
  return client.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    metadata: { night: 'first' },
  })
}

async function ended(client: OpenAI, id: string, timeoutMs: number): Promise<Batch> {
  let batch: Batch | undefined
  await until(async () => {
    batch = await client.batches.retrieve(id)
    return batch.completed_at != null || batch.failed_at != null || batch.cancelled_at != null
  }, timeoutMs)
  return batch!
}

async function readResults(client: OpenAI, id: string | null | undefined): Promise<ResultLine[]> {
  if (id == null) return []
  const text = await (await client.files.content(id)).text()
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as ResultLine)
}

test('the openai package uploads a batch, follows it, lists it and downloads both of its files', async () => {
  const stack = await startStack()
  onTestFinished(async () => {
    expect(await stack.stop()).toEqual([0, 0, 0])
  })
  const client = openClient(stack)
  const created = await createBatch(client, [
    chat('good', 'hello'),
    chat('bad', 'hello [[fault:400]]'),
    chat('better', 'hello again'),
  ])
  expect(created).toMatchObject({
    object: 'batch',
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    metadata: { night: 'first' },
    errors: null,
  })
  expect(created.expires_at! - created.created_at).toBe(86_400)
  const batch = await ended(client, created.id, 20_000)
  expect(batch).toMatchObject({
    status: 'completed',
    model: 'sim/chat',
    request_counts: { total: 3, completed: 2, failed: 1 },
  })
  expect(batch.usage!.total_tokens).toBe(batch.usage!.input_tokens + batch.usage!.output_tokens)
  const output = await readResults(client, batch.output_file_id)
  expect(output.map(({ custom_id, error }) => [custom_id, error])).toEqual([
    ['good', null],
    ['better', null],
  ])
  expect(output[0]!.response!.body.choices).toHaveLength(1)
  expect(await readResults(client, batch.error_file_id)).toMatchObject([
    { custom_id: 'bad', response: { status_code: 400, body: { error: {} } }, error: null },
  ])

  const wrong = await createBatch(client, [chat('a', 'x', '/v1/embeddings')])
  expect(await ended(client, wrong.id, 20_000)).toMatchObject({
    status: 'failed',
    errors: { object: 'list', data: [{ code: 'mismatched_url', line: 1, param: 'url' }] },
  })
  const listed: string[] = []
  for await (const one of client.batches.list({ limit: 1 })) listed.push(one.id)
  expect(listed).toEqual([wrong.id, created.id])
  await expect(client.batches.cancel(created.id)).rejects.toMatchObject({
    status: 409,
    code: 'not_cancellable',
  })
  await expect(client.batches.retrieve('batch_of_nobody')).rejects.toMatchObject({
    status: 404,
    code: 'not_found',
  })
  await expect(
    client.batches.create({
      input_file_id: 'file-none',
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    }),
  ).rejects.toMatchObject({ status: 404, code: 'not_found' })
}, 60_000)

test('a cancelled batch keeps what it has', async () => {
  const stack = await startStack({ simulator: ['--latency', '200'], limits: '{ max_concurrency: 4 }' })
  onTestFinished(async () => {
    expect(await stack.stop()).toEqual([0, 0, 0])
  })
  const client = openClient(stack)
  const created = await createBatch(
    client,
    Array.from({ length: 200 }, (_, index) => chat(`c${index}`, `number ${index}`)),
  )
  await until(async () => (await client.batches.retrieve(created.id)).request_counts!.completed > 0, 20_000)
  expect((await client.batches.cancel(created.id)).status).toBe('cancelling')
  const batch = await ended(client, created.id, 20_000)
  expect(batch.status).toBe('cancelled')
  const output = await readResults(client, batch.output_file_id)
  const errors = await readResults(client, batch.error_file_id)
  expect(output.length).toBeGreaterThan(0)
  expect(batch.request_counts).toEqual({ total: 200, completed: output.length, failed: errors.length })
  expect(new Set([...output, ...errors].map((line) => line.custom_id)).size).toBe(200)
  expect(new Set(errors.map((line) => line.error?.code))).toEqual(new Set(['batch_cancelled']))
}, 60_000)

test('every line is answered once though API and worker die in the middle', async () => {
  const count = 1200
  const stack = await startStack({
    apis: 2,
    workers: 2,
    // So that there is time to kill them in the middle.
    simulator: ['--latency', '300'],
    // The permits of a killed worker come back after 30 s: its jobs are not to wait for them.
    limits: '{ max_concurrency: 400 }',
    extra: 'jobs: { stalled_after: 2s }',
  })
  onTestFinished(async () => {
    await stack.stop()
  })
  const doomed = openClient(stack, 0)
  const client = openClient(stack, 1)
  const lines = Array.from({ length: count }, (_, index) =>
    chat(`c${index}`, index % 100 === 7 ? `number ${index} [[fault:400]]` : `number ${index}`),
  )
  const created = await createBatch(doomed, lines)
  await until(
    async () => (await client.batches.retrieve(created.id)).request_counts!.completed > count / 10,
    40_000,
  )
  stack.apis[0]!.kill('SIGKILL')
  stack.workers[0]!.kill('SIGKILL')
  await stack.startWorker()
  // Either of the two had the batch.
  await until(
    async () => (await client.batches.retrieve(created.id)).request_counts!.completed > count / 3,
    60_000,
  )
  stack.workers[1]!.kill('SIGKILL')
  const batch = await ended(client, created.id, 90_000)

  const failed = count / 100
  expect(batch.status).toBe('completed')
  expect(batch.request_counts).toEqual({ total: count, completed: count - failed, failed })
  const output = await readResults(client, batch.output_file_id)
  const errors = await readResults(client, batch.error_file_id)
  expect(output).toHaveLength(count - failed)
  expect(errors).toHaveLength(failed)
  expect(new Set([...output, ...errors].map((line) => line.custom_id)).size).toBe(count)
  expect(output.every((line) => line.response?.status_code === 200)).toBe(true)
  expect(errors.every((line) => line.response?.status_code === 400)).toBe(true)
}, 200_000)
