import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { createRedis, type RedisClient } from '../../lib/redis.ts'
import { findForms } from '../helpers/private-forms.ts'
import { type RunningProcess, startProcess } from '../helpers/processes.ts'
import { keysOf, startTestRedis } from '../helpers/redis.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'

const canary = (what: string) => `${what}x${randomBytes(9).toString('hex')}`
const secrets = {
  prompt: canary('prompt'),
  answer: canary('answer'),
  metadata: canary('metadata'),
  token: canary('token'),
  key: canary('key'),
  adminKey: canary('admin'),
  providerKey: canary('provider'),
  webhookSecret: canary('secret'),
  receiver: canary('receiver'),
  otherPassword: canary('password'),
}

let redis: EmbeddedRedis
let admin: RedisClient
let api: RunningProcess
let worker: RunningProcess
let url: string
let folder: string
let password: string
/** Answers of the provider that wait for `release`. */
const held: ServerResponse[] = []

const provider = createServer(async (request, response) => {
  const body = await text(request)
  response.setHeader('content-type', 'application/json')
  if (body.includes('[refuse]'))
    response.writeHead(400).end(`{"error":{"message":"cannot take: ${secrets.prompt}"}}`)
  else if (body.includes('[garbage]')) response.end(`{"choices": ${secrets.answer}`)
  else if (body.includes('[hold]')) held.push(response)
  else response.end(completion)
})
const completion = JSON.stringify({
  id: 'c',
  object: 'chat.completion',
  created: 1,
  model: 'chat',
  choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: secrets.answer } }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
})
const receiver = createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(500).end(secrets.receiver))
})

beforeAll(async () => {
  for (const server of [provider, receiver]) await once(server.listen(0, '127.0.0.1'), 'listening')
  redis = await startTestRedis()
  password = decodeURIComponent(new URL(redis.url).password)
  folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'private-'))
  const path = join(folder, 'sluice.yaml')
  await writeFile(
    path,
    `
redis: { url: "${redis.url}" }
log: { level: trace }
worker: { spool: "${folder}/spool" }
webhooks: { secret: ${secrets.webhookSecret}, allow_private_addresses: true, schedule: [0ms, 20ms] }
tenants:
  acme: { keys: [${secrets.key}] }
  ops: { keys: [${secrets.adminKey}], admin: true }
providers:
  up:
    kind: openai-compatible
    base_url: http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1
    api_key: ${secrets.providerKey}
    retry: { base: 10ms, cap: 20ms }
    models: { chat: {} }
`,
  )
  const start = (role: string, ready: RegExp, env = {}) =>
    startProcess({ args: ['main.ts', role, '--config', path, '--port', '0'], ready, readyMs: 50_000, env })
  ;[api, worker] = await Promise.all([
    start('api', /"url":"(http:[^"]+)","msg":"ready"/),
    start('worker', /"role":"worker".*"msg":"ready"/, { WORKER_PORT: '0' }),
  ])
  url = api.match[1]!
  const first = createRedis({ url: redis.url, role: 'commands', name: 'test-first' })
  await first.call('ACL', 'SETUSER', 'watcher', 'on', '>watcher', '~*', '&*', '+@all')
  first.disconnect()
  const place = new URL(redis.url)
  place.username = 'watcher'
  place.password = 'watcher'
  admin = createRedis({ url: place.href, role: 'commands', name: 'test-watcher' })
}, 60_000)

afterAll(async () => {
  admin?.disconnect()
  for (const response of held) response.destroy()
  provider.close()
  receiver.close()
  for (const running of [api, worker]) {
    running?.kill('SIGKILL')
    await running?.exited
  }
  await redis?.close()
})

async function call(method: string, path: string, body?: object, key = secrets.key) {
  const response = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: response.status, text: await response.text() }
}

function submit(mark = '') {
  const port = (receiver.address() as AddressInfo).port
  return call('POST', '/v1/jobs', {
    type: 'chat',
    body: {
      model: 'up/chat',
      messages: [{ role: 'user', content: `${secrets.prompt} ${canary('n')} ${mark}` }],
    },
    metadata: { note: secrets.metadata },
    webhook: { url: `http://127.0.0.1:${port}/hook?token=${secrets.token}` },
    max_attempts: 1,
  })
}

async function submitted(mark = ''): Promise<string> {
  const { status, text: answer } = await submit(mark)
  expect(status, answer).toBe(202)
  return JSON.parse(answer).id
}

const acl = (...rules: string[]) => admin.call('ACL', 'SETUSER', 'default', ...rules)

/** Commands that make Redis refuse, and those that end it. */
const states: Record<string, { begin: () => Promise<unknown>; end: () => Promise<unknown> }> = {
  OOM: {
    begin: () => admin.call('CONFIG', 'SET', 'maxmemory', '1'),
    end: () => admin.call('CONFIG', 'SET', 'maxmemory', '0'),
  },
  NOPERM: { begin: () => acl('-@write', '-@scripting'), end: () => acl('+@all') },
  READONLY: {
    begin: () => admin.call('REPLICAOF', '127.0.0.1', '1'),
    end: () => admin.call('REPLICAOF', 'NO', 'ONE'),
  },
  WRONGPASS: {
    begin: async () => {
      await acl('resetpass', `>${secrets.otherPassword}`)
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    },
    end: () => acl('resetpass', `>${password}`),
  },
}

test('no error of Redis, a provider, a receiver or a file brings anything private into a log or into metrics', async () => {
  const seen: string[] = []
  const ids = [await submitted(), await submitted('[refuse]'), await submitted('[garbage]')]
  for (const id of ids) seen.push((await call('GET', `/v1/jobs/${id}?wait=10`)).text)
  expect(seen[0]).toContain(secrets.answer)
  // One answer for each state in which the store cannot accept it.
  for (const name of ['OOM', 'READONLY']) await submitted(`[hold] ${name}`)
  await expect.poll(() => held.length, { timeout: 10_000 }).toBe(2)
  // The worker keeps answers that Redis does not accept in this folder, which does not exist now.
  await rm(join(folder, 'spool'), { recursive: true, force: true })
  await writeFile(join(folder, 'spool'), '')

  const logged = () => `${api.output}\n${worker.output}`
  for (const [name, { begin, end }] of Object.entries(states)) {
    const before = logged().length
    await begin()
    if (name === 'OOM' || name === 'READONLY') held.shift()!.end(completion)
    const refused = await submit()
    expect(refused.status, `${name}: ${refused.text}`).toBeGreaterThanOrEqual(500)
    await call('GET', `/v1/jobs/${ids[0]}`)
    await expect
      .poll(() => logged().slice(before), { timeout: 10_000 })
      .toMatch(/"(?:type|msg)":"[^"]*Error|"err"/)
    await end()
    await expect.poll(async () => (await call('GET', '/v1/jobs')).status, { timeout: 15_000 }).toBe(200)
  }

  // A value of another type than the scripts and commands expect.
  const [record] = await keysOf(admin, `*:job:${ids[1]}`)
  await admin.del(record!)
  await admin.set(record!, secrets.prompt)
  expect((await call('GET', `/v1/jobs/${ids[1]}`)).status).toBe(500)
  expect((await call('POST', `/v1/jobs/${ids[1]}/cancel`)).status).toBe(500)
  await worker.waitForOutput(/webhook/)

  const listens = await worker.waitForOutput(/"url":"(http:[^"]+)","msg":"the worker listens"/)
  const metrics = [
    (await call('GET', '/metrics', undefined, secrets.adminKey)).text,
    await (await fetch(`${listens[1]}/metrics`)).text(),
  ]
  for (const scraped of metrics) expect(scraped).toMatch(/^sluice_redis_commands_total\{/m)
  const log = logged()
  for (const [name] of Object.entries(states)) expect(log, name).toContain(name)
  expect(log).toContain('WRONGTYPE')
  expect(log).toMatch(/ENOTDIR|EEXIST/)
  const all = { ...secrets, redisPassword: password }
  for (const [where, written] of [
    ['log', log],
    ['metrics', metrics.join('\n')],
  ] as const) {
    expect(findForms(written, all), where).toEqual([])
  }
}, 60_000)
