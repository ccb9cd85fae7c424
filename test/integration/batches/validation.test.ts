import { expect, it } from 'vitest'
import { TENANT } from '../../helpers/store.ts'
import { batchEnded, CHAT, chatLine, EMBEDDINGS, embeddingLine, jsonl, openBatchShop } from './fixture.ts'

const line = (members: object) => JSON.stringify({ ...chatLine('x', 'hello'), ...members })

it('fails a batch for every fault of its lines, by their numbers, and makes no job of the good ones', async () => {
  const shop = await openBatchShop()
  shop.startRunner()
  const created = await shop.createBatch(
    [
      line({ custom_id: 'good' }),
      '',
      '{"custom_id": "cut',
      '[1, 2]',
      line({ custom_id: undefined }),
      line({ custom_id: '' }),
      line({ custom_id: 'good' }),
      line({ custom_id: 'a', method: 'GET' }),
      line({ custom_id: 'b', url: EMBEDDINGS }),
      line({ custom_id: 'c', url: '/v1/nothing' }),
      line({ custom_id: 'd', body: undefined }),
      line({ custom_id: 'e', body: { messages: [] } }),
      line({ custom_id: 'f', body: { model: 'sim/nobody', messages: [] } }),
      line({ custom_id: 'g', body: { model: 7 } }),
      `{"custom_id":"h","method":"POST","url":"${CHAT}","body":{"__proto__":{}}}`,
      line({ custom_id: 'i', method: undefined }),
      line({ custom_id: 'j', url: undefined }),
    ].join('\n'),
  )
  const { batch } = await batchEnded(shop, created)
  expect(batch).toMatchObject({ status: 'failed', total: 0, outputFileId: null, errorFileId: null })
  expect(batch.times.failed_at).not.toBeNull()
  expect(batch.errors.map(({ line, code, param }) => [line, code, param])).toEqual([
    [3, 'invalid_json_line', null],
    [4, 'invalid_json_line', null],
    [5, 'missing_required_parameter', 'custom_id'],
    [6, 'invalid_custom_id', 'custom_id'],
    [7, 'duplicate_custom_id', 'custom_id'],
    [8, 'invalid_method', 'method'],
    [9, 'mismatched_url', 'url'],
    [10, 'invalid_url', 'url'],
    [11, 'missing_required_parameter', 'body'],
    [12, 'missing_required_parameter', 'body.model'],
    [13, 'model_not_found', 'body.model'],
    [14, 'invalid_model', 'body.model'],
    [15, 'invalid_json_line', null],
    [16, 'missing_required_parameter', 'method'],
    [17, 'missing_required_parameter', 'url'],
  ])
  expect(await shop.store.jobs.group(TENANT, created.id)).toBeNull()
})

it('lists a hundred faults and looks for no more', async () => {
  const shop = await openBatchShop()
  shop.startRunner()
  const { batch } = await batchEnded(shop, await shop.createBatch('{\n'.repeat(500)))
  expect(batch.errors).toHaveLength(100)
})

it('fails an empty file, one of too many requests, and one that was deleted', async () => {
  const shop = await openBatchShop()
  const codeOf = async (content: string, spoil: (fileId: string) => Promise<unknown> = async () => {}) => {
    const created = await shop.createBatch(content)
    await spoil(created.inputFileId)
    const runner = shop.startRunner()
    const { batch } = await batchEnded(shop, created)
    await runner.stop()
    expect(batch.status).toBe('failed')
    return batch.errors.map(({ code }) => code)
  }
  expect(await codeOf('\n  \n')).toEqual(['empty_file'])
  const many = Array.from({ length: 50_001 }, (_, index) => JSON.stringify(embeddingLine(`${index}`, 'x')))
  expect(await codeOf(many.join('\n').replaceAll(EMBEDDINGS, CHAT))).toEqual(['too_many_tasks'])
  const remove = (id: string) => shop.files.remove(TENANT, id)
  expect(await codeOf(jsonl([chatLine('a', 'b')]), remove)).toEqual(['input_file_not_found'])
})

it('fails the batch of a tenant that is not configured any more', async () => {
  const shop = await openBatchShop()
  const { [TENANT]: _, ...tenants } = shop.settings.config.tenants
  shop.settings.config = { ...shop.settings.config, tenants }
  const created = await shop.createBatch(jsonl([chatLine('a', 'b')]))
  shop.startRunner()
  const { batch } = await batchEnded(shop, created)
  expect(batch.status).toBe('failed')
  expect(batch.errors).toMatchObject([{ code: 'tenant_removed' }])
})
