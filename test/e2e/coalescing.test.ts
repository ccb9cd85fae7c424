import { expect, onTestFinished, test } from 'vitest'
import { createBulk, getJob, groupEnded, startStack } from '../helpers/stack.ts'

test('three thousand embeddings travel in a few requests, of which a poisoned one fails alone', async () => {
  const stack = await startStack({ simulator: ['--latency', '50', '--dimensions', '64'] })
  onTestFinished(async () => {
    expect(await stack.stop()).toEqual([0, 0, 0])
  })
  const url = stack.urls[0]!
  const inputs = Array.from({ length: 3000 }, (_, index) =>
    index === 1234 ? 'this one is [[poison]]' : `text number ${index}`,
  )
  const ids = await createBulk(
    url,
    inputs.map((input) => ({ type: 'embedding', body: { model: 'sim/embed', input }, group: 'many' })),
  )
  const summary = await groupEnded(url, 'many')
  expect(summary).toMatchObject({ total: 3000, counts: { completed: 2999, failed: 1 } })
  expect((await getJob(url, ids[1234]!)).error).toMatchObject({ provider_status: 400, retryable: false })

  const state = await stack.simulator.state()
  const answers = state.by_path['/v1/embeddings']!
  expect((answers[200] ?? 0) + (answers[400] ?? 0)).toBe(state.calls)
  expect(state.calls).toBeLessThanOrEqual(60)
  // Every other input was bought once.
  const bought = (await stack.simulator.calls()).reduce((sum, call) => sum + call.inputs, 0)
  expect(bought).toBe(2999)

  const [first, second] = await Promise.all([getJob(url, ids[0]!), getJob(url, ids[1]!)])
  const vector = (job: typeof first) => (job.result as { data: { embedding: number[] }[] }).data[0]!.embedding
  expect(vector(first)).toHaveLength(64)
  expect(vector(first)).not.toEqual(vector(second))
  expect(first.usage!.input_tokens).toBeGreaterThan(0)
}, 60_000)
