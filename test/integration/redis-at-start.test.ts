import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { createLiveConfig } from '../../config/watch.ts'
import { openApi, openWorker } from '../../services.ts'
import { parseTestConfig } from '../helpers/api.ts'
import { answerOf } from '../helpers/fair-service.ts'
import { startTestRedis } from '../helpers/redis.ts'
import { placeService } from '../helpers/service.ts'
import { startUpstream } from '../helpers/upstream.ts'

type Command = [string, ...string[]]

describe.each<[state: string, fault: string, put: Command, mend: Command]>([
  ['is read-only', 'read_only', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  ['is full', 'full', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
  [
    'has too few replicas',
    'no_replicas',
    ['CONFIG', 'SET', 'min-replicas-to-write', '1'],
    ['CONFIG', 'SET', 'min-replicas-to-write', '0'],
  ],
  [
    'evicts',
    'unfit',
    ['CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru'],
    ['CONFIG', 'SET', 'maxmemory-policy', 'noeviction'],
  ],
])('processes that start while Redis %s', { concurrent: true }, (_, fault, put, mend) => {
  it('accept no job, say why once, and serve when Redis is ready', async ({ onTestFinished }) => {
    const server = await startTestRedis()
    onTestFinished(() => server.close())
    const redis = new Redis(server.url)
    onTestFinished(() => redis.disconnect())
    await redis.call(...put)
    const upstream = await startUpstream()
    onTestFinished(() => upstream.close())
    upstream.script = ({ body }, response) => answerOf(body, response)
    const spool = await mkdtemp(join(tmpdir(), 'at-start-'))
    onTestFinished(() => rm(spool, { recursive: true, force: true }))
    const config = parseTestConfig({
      ...placeService({ url: server.url, prefix: 'test' }),
      worker: { spool },
      routes: {},
      providers: {
        up: { kind: 'openai-compatible', base_url: upstream.url, api_key: 'unused', models: { chat: {} } },
      },
    })
    const lines: { msg: string; fault?: string; level: number }[] = []
    const open = { config: createLiveConfig(config), version: '0.0.0-test' }
    const log = pino({}, { write: (line) => void lines.push(JSON.parse(line)) })
    const worker = await openWorker({ ...open, log })
    onTestFinished(worker.close)
    const api = await openApi({ ...open, log })
    onTestFinished(api.close)

    const body = { model: 'up/chat', messages: [{ role: 'user', content: 'hello' }] }
    const submit = () =>
      fetch(`${api.url}/v1/jobs`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ type: 'chat', body }),
      })
    const refused = await submit()
    expect(refused.status).toBe(503)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    const saidOfIt = () => lines.filter(({ msg }) => msg === 'Redis is not well').map((line) => line.fault)
    await expect.poll(saidOfIt, { timeout: 10_000 }).toEqual([fault, fault])

    await redis.call(...mend)
    const accepted = await expect
      .poll(async () => (await submit()).status, { timeout: 10_000, interval: 200 })
      .toBe(202)
      .then(submit)
    const { id } = (await accepted.json()) as { id: string }
    const job = await (await fetch(`${api.url}/v1/jobs/${id}?wait=20`)).json()
    expect(job).toMatchObject({ status: 'completed' })
    expect(saidOfIt()).toEqual([fault, fault])
    expect(lines.filter(({ level }) => level >= 50)).toEqual([])
  }, 60_000)
})
