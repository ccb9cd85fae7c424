import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type BulkAnswer,
  type BulkLine,
  type ClientOptions,
  type CreateJob,
  createClient,
} from '../../../client/index.ts'
import { createTestApi, type TestApi } from '../../helpers/api.ts'
import { collect, cutAfter } from './streams.ts'

let api: TestApi
let url: string
beforeEach(async () => {
  api = await createTestApi()
  url = await api.listen()
})
afterEach(() => api.close())

const retries = { attempts: 5, firstWaitMs: 5, longestWaitMs: 1_000 }
const open = (options: Partial<ClientOptions> = {}) => createClient({ url, retries, ...options })

let texts = 0
const chat = (members: Partial<BulkLine> = {}): CreateJob & BulkLine =>
  ({
    type: 'chat',
    body: { model: 'openai/small', messages: [{ role: 'user', content: `text ${++texts}` }] },
    ...members,
  }) as CreateJob & BulkLine

describe('submitMany', () => {
  const ids = (answers: BulkAnswer[]) => answers.map((answer) => ('id' in answer ? answer.id : null))

  it('answers each job in order, and a bad one costs only itself', async () => {
    const creates = [chat(), chat({ body: { model: 'nobody/knows', messages: [{ role: 'user' }] } }), chat()]
    const answers = await collect(open().submitMany(creates))
    expect(answers).toMatchObject([
      { index: 0, status: 'queued' },
      { index: 1, error: { code: 'model_not_found' } },
      { index: 2, status: 'queued' },
    ])
    expect(await collect(open().submitMany([]))).toEqual([])
  })

  it('makes each job once though its answers are cut off again and again', async () => {
    const creates = Array.from({ length: 40 }, () => chat({ group: 'cut' }))
    const cutting = cutAfter(300, '/bulk')
    const answers = await collect(
      open({ fetch: cutting }).submitMany(creates, { idempotencyKey: 'upload-1' }),
    )
    expect(cutting.cuts).toBeGreaterThan(3)
    expect(answers.map(({ index }) => index)).toEqual(creates.map((_, index) => index))
    expect(new Set(ids(answers)).size).toBe(40)
    expect(await open().group('cut')).toMatchObject({ total: 40 })
    expect(ids(await collect(open().submitMany(creates, { idempotencyKey: 'upload-1' })))).toEqual(
      ids(answers),
    )
  })

  it('says so where a proxy answers with a page of its own', async () => {
    const page = async () => new Response('<html>\nhello\n</html>\n', { status: 200 })
    await expect(collect(open({ fetch: page }).submitMany([chat()]))).rejects.toMatchObject({
      name: 'SluiceError',
      code: 'invalid_answer',
      status: 200,
    })
  })

  it('gives up when nothing gets through', async () => {
    const cutting = cutAfter(1, '/bulk')
    await expect(collect(open({ fetch: cutting }).submitMany([chat()]))).rejects.toMatchObject({
      code: 'unreachable',
    })
    expect(cutting.cuts).toBe(5)
  })
})

describe('a server without room', () => {
  let small: TestApi
  beforeEach(async () => {
    small = await createTestApi({
      tenants: { acme: { keys: ['acme-key-0123456789'], limits: { max_queued: 3 } } },
    })
  })
  afterEach(() => small.close())

  it('gets the rest of the jobs when it has room, and answers for those that never fit', async () => {
    const client = createClient({ url: await small.listen(), key: 'acme-key-0123456789', retries })
    const answers: BulkAnswer[] = []
    for await (const answer of client.submitMany(Array.from({ length: 5 }, () => chat()))) {
      answers.push(answer)
      if (answers.length === 3) {
        for (const given of answers.slice(0, 2)) if ('id' in given) await small.worker.finish(given.id)
      }
    }
    expect(answers.filter((answer) => 'id' in answer)).toHaveLength(5)
    expect(await collect(client.submitMany([chat()]))).toMatchObject([{ error: { code: 'queue_full' } }])
  })
})
