import { expect, it } from 'vitest'
import { keysOf } from '../../helpers/redis.ts'
import { TENANT } from '../../helpers/store.ts'
import {
  batchEnded,
  chatLine,
  customIds,
  EMBEDDINGS,
  embeddingLine,
  jsonl,
  openBatchShop,
  readLines,
} from './fixture.ts'

it('answers every line, those that failed in a file of their own, each as its endpoint would have', async () => {
  const shop = await openBatchShop()
  await shop.workshopWork()
  shop.startRunner()
  const created = await shop.createBatch(
    jsonl([
      chatLine('good', 'hello'),
      chatLine('refused', 'hello [[fault:400]]'),
      chatLine('broken', 'hello [[fault:500]]'),
      chatLine('shapeless', 'x', {}, { messages: 'none' }),
      chatLine('streamed', 'x', {}, { stream: true }),
      chatLine('last', 'hello again'),
    ]),
    { metadata: { up: 'down' } },
  )
  const { batch, output, errors } = await batchEnded(shop, created)

  expect(batch).toMatchObject({
    status: 'completed',
    model: 'sim/chat',
    total: 6,
    tally: { completed: 2, failed: 4 },
    metadata: { up: 'down' },
    errors: [],
  })
  expect(await shop.batches.recent([TENANT, 'nobody'], 20)).toEqual([batch])
  expect(batch.tally.inputTokens).toBeGreaterThan(0)
  expect(batch.tally.outputTokens).toBeGreaterThan(0)
  expect(batch.times.completed_at! - batch.createdAt).toBeLessThan(20_000)
  expect(customIds(output)).toEqual(['good', 'last'])
  expect(output[0]).toMatchObject({
    id: expect.stringMatching(/^batch_req_/),
    response: {
      status_code: 200,
      request_id: expect.stringMatching(/^job_/),
      body: { object: 'chat.completion' },
    },
    error: null,
  })
  expect(customIds(errors)).toEqual(['refused', 'broken', 'shapeless', 'streamed'])
  const [refused, broken, shapeless, streamed] = errors
  expect(refused).toMatchObject({ response: { status_code: 400, body: { error: {} } }, error: null })
  expect(broken).toMatchObject({ response: { status_code: 500, body: { error: {} } }, error: null })
  expect(shapeless).toMatchObject({
    response: { status_code: 400, body: { error: { param: 'messages', code: 'invalid_request' } } },
  })
  expect(streamed).toMatchObject({
    response: { status_code: 400, body: { error: { param: 'stream', code: 'invalid_request' } } },
  })
  expect(shop.errors).toEqual([])
})

it('runs embeddings in shared requests and gives their vectors as asked', async () => {
  const shop = await openBatchShop()
  await shop.workshopWork()
  shop.startRunner()
  const lines = Array.from({ length: 40 }, (_, index) => embeddingLine(`e${index}`, `text ${index}`))
  const created = await shop.createBatch(
    jsonl([...lines, embeddingLine('packed', 'text', { encoding_format: 'base64' })]),
    { endpoint: EMBEDDINGS },
  )
  const { batch, output } = await batchEnded(shop, created)
  expect(batch.tally).toMatchObject({ completed: 41, failed: 0 })
  expect(batch.errorFileId).toBeNull()
  expect(customIds(output)).toEqual([...lines.map((line) => line.custom_id), 'packed'])
  const embeddingOf = (index: number) =>
    (output[index]!.response!.body.data as { embedding: unknown }[])[0]!.embedding
  expect(embeddingOf(0)).toHaveLength(4)
  expect(typeof embeddingOf(40)).toBe('string')
  expect(shop.simulator.state().billed_calls).toBeLessThan(20)
})

it('makes one call for equal lines, and keeps the order of the input over many blocks', async () => {
  const shop = await openBatchShop({ limits: '{ max_concurrency: 64 }' })
  await shop.workshopWork()
  shop.startRunner()
  const lines = Array.from({ length: 620 }, (_, index) => chatLine(`c${index}`, `number ${index % 31}`))
  const created = await shop.createBatch(jsonl(lines))
  const { batch, output } = await batchEnded(shop, created)
  expect(batch.tally).toMatchObject({ completed: 620, failed: 0 })
  expect(customIds(output)).toEqual(lines.map((line) => line.custom_id))
  expect(new Set(output.map((line) => line.id)).size).toBe(620)
  expect(shop.simulator.state().billed_calls).toBe(31)
  const group = await shop.store.jobs.group(TENANT, created.id)
  expect(group).toMatchObject({ total: 620, counts: { completed: 620 } })
  const file = await shop.files.get(TENANT, batch.outputFileId!)
  expect(file).toMatchObject({ filename: `${created.id}_output.jsonl`, purpose: 'batch_output' })
  expect(file!.expiresAt).toBeGreaterThan(Date.now())
})

it('hides what it wrote until the batch is over, and keeps nothing of its work after that', async () => {
  const shop = await openBatchShop()
  const created = await shop.createBatch(jsonl([chatLine('one', 'hello')]))
  shop.startRunner()
  await expect.poll(async () => (await shop.batches.get(TENANT, created.id))!.status).toBe('in_progress')
  expect(await shop.batches.get(TENANT, created.id)).toMatchObject({ outputFileId: null, errorFileId: null })
  await shop.workshopWork()
  const { batch } = await batchEnded(shop, created)
  expect(await readLines(shop.files, TENANT, batch.outputFileId)).toHaveLength(1)
  expect(await shop.work.active(TENANT)).toEqual([])
  const left = await keysOf(shop.store.redis, `${shop.store.root}:batch:${created.id}*`)
  expect(left).toEqual([`${shop.store.root}:batch:${created.id}`])
})

it('gives up a line that the store cannot take, and no other', { timeout: 60_000 }, async () => {
  const shop = await openBatchShop()
  await shop.workshopWork()
  const created = await shop.createBatch(
    jsonl(['one', 'two', 'three'].map((id) => chatLine(id, `I am ${id}`))),
  )
  await shop.store.redis.set(`${shop.store.root}:idempotency:${created.id}\n1`, 'no hash')
  shop.startRunner()
  const { batch, output, errors } = await batchEnded(shop, created)
  expect(batch).toMatchObject({ status: 'completed', total: 3, tally: { completed: 2, failed: 1 } })
  expect(customIds(output)).toEqual(['one', 'three'])
  expect(errors).toMatchObject([{ custom_id: 'two', error: { code: 'internal_error' } }])
  expect(shop.errors).toHaveLength(3)
})
