import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import { until } from '../../helpers/store.ts'
import { startReceiver } from '../webhooks/receiver.ts'
import { type House, openHouse, providerKey, tenantKey, webhookSecret } from './house.ts'

const prompt = 'canary-prompt-8c02'
const page = readFileSync(new URL('../../../docs/logging.md', import.meta.url), 'utf8')
const names = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error' } as const

/** The documented lines: message, level, fields. */
const documented = new Map(
  [...page.matchAll(/^\| `([^`]+)` \| (debug|info|warn|error) \| ([^|]*) \|/gm)].map(
    ([, message, level, fields]) =>
      [
        message!,
        { level: level!, fields: [...fields!.matchAll(/`([a-z_]+)`/g)].map(([, name]) => name!) },
      ] as const,
  ),
)

let house: House
let hooks: Awaited<ReturnType<typeof startReceiver>>
const jobs: Record<string, Job> = {}

const chat = (text: string, members: object = {}, model = 'sim/chat') => ({
  type: 'chat',
  body: { model, messages: [{ role: 'user', content: `${prompt} ${text}` }] },
  ...members,
})
const linesOf = (job: Job) => house.logged.filter((line) => line.job === job.id)
const has = (message: string) => house.logged.some((line) => line.msg === message)

/** Everything that has a log line of its own, as far as it can happen within a few seconds. */
beforeAll(async () => {
  hooks = await startReceiver((_received, _index, response) => void response.writeHead(410).end())
  // A receiver of webhooks takes no spans.
  house = await openHouse({ tracing: { endpoint: hooks.url } })
  const create = async (name: string, job: object) => {
    const response = await house.post('/v1/jobs', job, { 'x-request-id': `request-${name}` })
    jobs[name] = (await response.json()) as Job
    return jobs[name].id
  }
  const finish = async (name: string, job: object) => house.get(`/v1/jobs/${await create(name, job)}?wait=20`)

  await finish('good', chat('good', { webhook: { url: hooks.url } }))
  await finish('refused', chat('[[fault:401]]'))
  await finish('broken', chat('[[fault:reset_after:times=1]]'))
  await house.post('/v1/chat/completions', chat('at the door').body, { 'x-request-id': 'request-door' })

  const deadline = new Date(Date.now() + 900).toISOString()
  await create('late', chat('late', { delay_ms: 400, deadline }))
  await house.post('/v1/lanes/sim/chat/pause', { for_ms: 60_000 })
  await until(() => has('lane paused'))
  await until(() => linesOf(jobs.late!).some((line) => line.msg === 'job failed'))
  await house.post('/v1/lanes/sim/chat/resume', undefined)

  for (let index = 0; index < 5; index++)
    await create(`down ${index}`, chat(`[[fault:500]] ${index}`, { max_attempts: 10 }, 'sim/other'))
  await until(() => has('breaker opened'))
  await until(() => has('webhook given up'))
  await until(() => has('spans were lost'))
  await house.stop()
}, 60_000)

afterAll(async () => {
  await hooks?.close()
})

test('every line that was written is documented, with its level, and has the documented fields', () => {
  const seen = new Set<string>()
  for (const line of house.logged) {
    const { msg, level } = line as { msg: string; level: keyof typeof names }
    if (msg.startsWith('Server listening at ')) continue
    const known = documented.get(msg)
    expect(known, `${msg}: not in docs/logging.md`).toBeDefined()
    expect(`${msg}: ${names[level]}`).toBe(`${msg}: ${known!.level}`)
    for (const field of known!.fields) expect(line, `${msg}: ${field}`).toHaveProperty(field)
    seen.add(msg)
  }
  expect([...seen].sort()).toEqual([
    'answered',
    'breaker opened',
    'job failed',
    'lane paused',
    'lane paused by hand',
    'lane resumed by hand',
    'provider call',
    'provider call with an unknown outcome',
    'spans were lost',
    'this worker is not the maintainer any more',
    'this worker is the maintainer now',
    'webhook given up',
  ])
})

test('a job can be traced from its request to its call by the id of the request', () => {
  for (const name of ['good', 'refused', 'broken', 'late']) {
    const lines = linesOf(jobs[name]!)
    expect(lines.length, name).toBeGreaterThanOrEqual(2)
    expect(new Set(lines.map((line) => line.request_id)), name).toEqual(new Set([`request-${name}`]))
  }
  const door = house.logged.filter((line) => line.request_id === 'request-door')
  expect(door.map((line) => line.msg).sort()).toEqual(['answered', 'provider call'])
  expect(new Set(door.map((line) => line.job)).size).toBe(1)
})

test('a job that fails says why', () => {
  const failed = (name: string) => linesOf(jobs[name]!).find((line) => line.msg === 'job failed')
  expect(failed('refused')).toMatchObject({ attempt: 1, status: 401, retryable: false, tenant: 'acme' })
  expect(failed('late')).toMatchObject({ code: 'deadline_exceeded', lane: 'sim/chat' })
})

test('a job that succeeds has no line from info on, except for other events that it met', () => {
  expect(
    linesOf(jobs.good!)
      .filter((line) => Number(line.level) >= 30)
      .map((line) => line.msg),
  ).toEqual(['webhook given up'])
})

test('no line holds a prompt, an answer, a key or a secret', () => {
  const text = JSON.stringify(house.logged)
  for (const secret of [prompt, providerKey, tenantKey, webhookSecret]) expect(text).not.toContain(secret)
})
