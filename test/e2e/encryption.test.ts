import { Redis } from 'ioredis'
import OpenAI, { toFile } from 'openai'
import { expect, onTestFinished, test } from 'vitest'
import type { Job } from '../../jobs/job.ts'
import { createRedis, type RedisClient } from '../../lib/redis.ts'
import { keyIdOf } from '../../lib/sealer.ts'
import { dumpRedis, dumpValues } from '../helpers/dump.ts'
import { testKeys } from '../helpers/encryption.ts'
import { testRedis } from '../helpers/redis.ts'
import { chat, get, type Stack, startStack, waitForJob } from '../helpers/stack.ts'
import { until } from '../helpers/store.ts'
import { startReceiver } from '../integration/webhooks/receiver.ts'

const canary = 'canary-prompt-5f1c9b7e3d2a'
const [oldKey, newKey] = testKeys
const idOf = (key: string) => keyIdOf(Buffer.from(key, 'base64'))

async function openStack(
  extra = '',
  workers = 1,
): Promise<{ stack: Stack; url: string; redis: RedisClient }> {
  const stack = await startStack({
    apis: 2,
    workers,
    extra: `log: { level: trace }\nencryption: { keys: ["${oldKey}"] }\n${extra}`,
  })
  const redis = createRedis({ ...testRedis(), role: 'commands', name: 'test-encryption' })
  onTestFinished(async () => {
    redis.disconnect()
    expect(await stack.stop()).toEqual(Array.from({ length: 3 + workers }, () => 0))
  })
  return { stack, url: stack.urls[0]!, redis }
}

async function submit(url: string, job: object): Promise<Job> {
  const response = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(job),
  })
  expect(response.status).toBeLessThan(300)
  return (await response.json()) as Job
}

const textOf = (job: Job) =>
  (job.result as { choices: { message: { content: string } }[] }).choices[0]!.message.content

test('no prompt and no answer is in Redis, packed or not, or in a log, by every way in and out', async () => {
  const receiver = await startReceiver()
  onTestFinished(() => receiver.close())
  const { stack, url, redis } = await openStack(
    'webhooks: { secret: a-secret-for-tests, allow_private_addresses: true }',
  )
  // Every message that is published during the test, at any node of a cluster: a message that is not stored could
  // still be overheard.
  const listener = new Redis(testRedis().url)
  onTestFinished(() => listener.disconnect())
  const messages: Buffer[] = []
  listener.on('pmessageBuffer', (_pattern, _channel, message: Buffer) => messages.push(message))
  await listener.psubscribe(`${stack.prefix}:*`)

  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'unused', maxRetries: 0 })
  const long = `${canary} ${'lorem ipsum '.repeat(1_000)}`
  const jobs: Job[] = []
  for (const [text, body] of [
    [canary, {}],
    [long, {}],
    [`${canary} streamed`, { stream: true }],
  ] as const) {
    const members = { webhook: { url: receiver.url }, group: 'g' }
    const twins = await Promise.all([1, 2].map(() => submit(url, chat(text, members, body))))
    for (const { id } of twins) jobs.push(await waitForJob(stack.urls[1]!, id))
    jobs.push(await waitForJob(url, (await submit(url, chat(text, {}, body))).id))
    const texts = jobs.slice(-3).map(textOf)
    expect(new Set(texts).size).toBe(1)
    expect(jobs.at(-1)!.cache).toBe('hit')
  }
  await receiver.got(6)
  for (const { body } of receiver.received) expect(body).toContain('chat.completion')

  const ask = (content: string) => ({
    model: 'sim/chat',
    messages: [{ role: 'user' as const, content: `${canary} ${content}` }],
  })
  const read = async (content: string) => {
    let text = ''
    const stream = await client.chat.completions.create({ ...ask(content), stream: true })
    for await (const part of stream) text += part.choices[0]?.delta.content ?? ''
    return text
  }
  const whole = await client.chat.completions.create(ask('by the door'))
  const streamed = await read('by the door')
  expect(streamed).toBe(whole.choices[0]!.message.content)
  const shown = await read('live')
  expect(shown.length).toBeGreaterThan(10)
  const response = await client.responses.create({ model: 'sim/chat', input: `${canary} response` })
  expect((await client.responses.retrieve(response.id)).output_text).toBe(response.output_text)

  const inputs = [`${canary} a`, `${canary} b`]
  const { data } = await client.embeddings.create({ model: 'sim/embed', input: inputs })
  const again = await client.embeddings.create({ model: 'sim/embed', input: [...inputs, 'c'] })
  expect(again.data.slice(0, 2).map(({ embedding }) => embedding)).toEqual(
    data.map(({ embedding }) => embedding),
  )

  await expect(client.chat.completions.create(ask('[[fault:400]]'))).rejects.toThrow()

  const line = (id: string, content: string) =>
    JSON.stringify({
      custom_id: id,
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model: 'sim/chat', messages: [{ role: 'user', content }] },
    })
  const text = [line('one', `${canary} line`), line('two', `${canary} [[fault:400]]`)].join('\n')
  const file = await client.files.create({
    file: await toFile(Buffer.from(text), 'in.jsonl'),
    purpose: 'batch',
  })
  expect(await (await client.files.content(file.id)).text()).toBe(text)
  const { id } = await client.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  })
  await until(async () => (await client.batches.retrieve(id)).completed_at != null, 20_000)
  const { output_file_id, error_file_id } = await client.batches.retrieve(id)
  const output = await (await client.files.content(output_file_id!)).text()
  expect(output).toContain('chat.completion')
  expect(await (await client.files.content(error_file_id!)).text()).toContain('two')

  const secrets = [
    canary,
    'lorem ipsum',
    'chat.completion',
    'fault:400',
    '"choices":[',
    'output_text',
    '"embedding":"',
  ]
  for (const answer of [textOf(jobs[0]!), textOf(jobs[6]!), streamed, shown, response.output_text])
    secrets.push(answer.slice(0, 40))
  const { plain, unpacked } = await dumpRedis(redis, stack.prefix)
  expect(plain).toContain(jobs[0]!.id)
  for (const found of [plain, unpacked, messages.join('\n'), stack.output()]) {
    expect(secrets.filter((secret) => found.includes(secret))).toEqual([])
  }
  const vector = Buffer.from(Float32Array.from(data[0]!.embedding).buffer).subarray(0, 16)
  expect((await dumpValues(redis, stack.prefix)).filter((value) => value.includes(vector))).toEqual([])
  expect(messages.length).toBeGreaterThan(20)
  for (const key of testKeys) expect(stack.output()).not.toContain(key)

  // Deleted also means that no ciphertext is left.
  const { data: all } = await get<{ data: Job[] }>(url, '/v1/jobs?limit=1000')
  for (const job of all)
    expect((await fetch(`${url}/v1/jobs/${job.id}`, { method: 'DELETE' })).status).toBe(200)
  for (const one of [file.id, output_file_id!, error_file_id!]) await client.files.delete(one)
  const left = await dumpValues(redis, stack.prefix)
  const sealed = Buffer.concat([Buffer.of(2), Buffer.from(idOf(oldKey), 'hex')])
  expect(left.filter((value) => value.includes(sealed) || value.includes('"sealed"'))).toEqual([])
}, 90_000)

test('keys are rotated while it runs: nothing fails, and what was stored before is read until its key is gone', async () => {
  const { stack, url, redis } = await openStack('', 2)
  const before = await waitForJob(url, (await submit(url, chat(canary))).id)
  const root = `${stack.prefix}:{t:default}`
  /** The keys that the job's body and its answer are encrypted with. */
  const keysOf = async (job: Job) => {
    const [body, hash] = await redis.hmgetBuffer(`${root}:job:${job.id}`, 'body', 'hash')
    const answer = await redis.hgetBuffer(`${root}:answer:${hash}`, 'text')
    return [body!, answer!].map((stored) => stored.toString('hex', 1, 5))
  }
  expect(await keysOf(before)).toEqual([idOf(oldKey), idOf(oldKey)])

  await stack.rewriteConfig((text) => text.replace(`"${oldKey}"`, `"${newKey}", "${oldKey}"`))
  let made = 0
  let latest = before
  await until(async () => {
    const { id } = await submit(stack.urls[made++ % 2]!, chat(`${canary} ${made}`, {}, { stream: true }))
    latest = await waitForJob(stack.urls[made % 2]!, id)
    expect(latest).toMatchObject({ status: 'completed', error: null, attempts: 1 })
    expect((await waitForJob(url, before.id)).result).toEqual(before.result)
    const keys = await keysOf(latest)
    return keys.every((key) => key === idOf(newKey))
  }, 60_000)

  await stack.rewriteConfig((text) => text.replace(`, "${oldKey}"`, ''))
  await until(async () => (await waitForJob(url, before.id)).error !== null, 5_000)
  expect(await waitForJob(url, before.id)).toMatchObject({
    status: 'completed',
    result: null,
    error: { code: 'undecryptable', retryable: true },
  })
  expect((await waitForJob(url, latest.id)).result).toEqual(latest.result)
  const { data } = await get<{ data: Job[] }>(url, '/v1/jobs?limit=1000')
  expect(data.map((job) => job.id)).toEqual(expect.arrayContaining([before.id, latest.id]))
  expect(stack.output()).toContain(`the encryption key ${idOf(oldKey)} is not configured`)
  for (const key of testKeys) expect(stack.output()).not.toContain(key)
}, 60_000)
