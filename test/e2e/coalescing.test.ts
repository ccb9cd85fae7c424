import { isDeepStrictEqual } from 'node:util'
import OpenAI from 'openai'
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

/** Base64 and decimals of one vector are compared by their values. */
const toFloats = (vector: number[]) => Float32Array.from(vector)

test('several workers buy only the new inputs of lists that overlap, and each client gets its own vectors', async () => {
  const stack = await startStack({
    apis: 2,
    workers: 2,
    simulator: ['--latency', '20', '--dimensions', '16'],
    extra: `
tenants:
  acme: { keys: [a-key-of-acme-for-tests] }
  other: { keys: [a-key-of-other-for-tests] }
`,
  })
  onTestFinished(async () => {
    expect(await stack.stop()).toEqual([0, 0, 0, 0, 0])
  })
  const open = (apiKey: string, at: number) =>
    new OpenAI({ apiKey, baseURL: `${stack.urls[at]}/v1`, maxRetries: 0 })
  const acme = open('a-key-of-acme-for-tests', 0)
  const other = open('a-key-of-other-for-tests', 1)
  const inputs = async () => (await stack.simulator.calls()).reduce((sum, call) => sum + call.inputs, 0)
  const chunks = Array.from({ length: 100 }, (_, index) => `chunk ${index} of a document`)

  const first = await acme.embeddings.create({ model: 'sim/embed', input: chunks })
  expect(first.data).toHaveLength(100)
  expect(await inputs()).toBe(100)

  // Ten chunks of the document were edited.
  const edited = chunks.map((chunk, index) => (index % 10 === 3 ? `${chunk}, edited` : chunk))
  const { data: second, response } = await acme.embeddings
    .create({ model: 'sim/embed', input: edited, encoding_format: 'float' })
    .withResponse()
  expect(response.headers.get('x-cache')).toBe('miss')
  expect(await inputs()).toBe(110)
  expect(second.usage.prompt_tokens).toBeLessThan(first.usage.prompt_tokens / 5)
  for (const [index, { embedding }] of second.data.entries()) {
    const same = isDeepStrictEqual(toFloats(embedding), toFloats(first.data[index]!.embedding))
    expect(same).toBe(index % 10 !== 3)
  }

  const known = await acme.embeddings
    .create({ model: 'sim/embed', input: [...edited].reverse() })
    .withResponse()
  expect(known.response.headers.get('x-cache')).toBe('hit')
  expect(known.data.data.map(({ embedding }) => toFloats(embedding))).toEqual(
    second.data.map(({ embedding }) => toFloats(embedding)).reverse(),
  )
  expect(known.data.usage).toEqual({ prompt_tokens: 0, total_tokens: 0 })
  expect(await inputs()).toBe(110)

  // Another tenant buys its own, and gets the same.
  const theirs = await other.embeddings.create({ model: 'sim/embed', input: chunks })
  expect(await inputs()).toBe(210)
  expect(theirs.data).toEqual(first.data)
  expect(theirs.usage).toEqual(first.usage)
}, 60_000)

test('embeddings of two tenants share requests, whose tokens are divided among them exactly', async () => {
  const stack = await startStack({
    simulator: ['--latency', '50', '--dimensions', '16'],
    extra: `
tenants:
  acme: { keys: [a-key-of-acme-for-tests] }
  other: { keys: [a-key-of-other-for-tests] }
`,
  })
  onTestFinished(async () => {
    expect(await stack.stop()).toEqual([0, 0, 0])
  })
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, index) => {
      const apiKey = index % 2 ? 'a-key-of-acme-for-tests' : 'a-key-of-other-for-tests'
      const client = new OpenAI({ apiKey, baseURL: `${stack.urls[0]}/v1`, maxRetries: 0 })
      return client.embeddings.create({ model: 'sim/embed', input: `text number ${index}` })
    }),
  )
  const { billed_tokens, billed_inputs, calls } = await stack.simulator.state()
  expect(billed_inputs).toBe(200)
  expect(calls).toBeLessThan(50)
  expect(answers.reduce((sum, { usage }) => sum + usage.prompt_tokens, 0)).toBe(billed_tokens)
  expect(new Set(answers.map(({ data }) => JSON.stringify(data))).size).toBe(200)
}, 60_000)
