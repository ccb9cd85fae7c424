import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import type { LaneView } from '../../../api/lanes/lanes.ts'
import { createLiveConfig } from '../../../config/watch.ts'
import type { Attempt, Job } from '../../../jobs/job.ts'
import { openWorker } from '../../../services.ts'
import type { SimulatorOptions } from '../../../simulator/options.ts'
import { createSimulator } from '../../../simulator/simulator.ts'
import { parseTestConfig } from '../../helpers/api.ts'
import { testRedis } from '../../helpers/redis.ts'
import { RUN_VARIABLE } from '../../helpers/run-processes.ts'
import { openTestService, placeService } from '../../helpers/service.ts'
import { until } from '../../helpers/store.ts'

/** A service and a worker in front of a simulator with the keys a, b and c, which are the sources of one lane. */
async function open(options: SimulatorOptions = {}, sources: object[] = [{}, {}, {}]) {
  const simulator = createSimulator({ keyLimits: { 'key-a': {}, 'key-b': {}, 'key-c': {} }, ...options })
  const url = await simulator.listen()
  onTestFinished(() => simulator.close())
  const config = parseTestConfig({
    ...placeService(testRedis()),
    worker: { spool: await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'sources-')) },
    routes: { either: ['sim/chat', 'sim/spare'] },
    providers: {
      sim: {
        kind: 'openai-compatible',
        base_url: url,
        api_key: 'key-a',
        limits: { max_concurrency: 10 },
        retry: { base: '10ms', cap: '20ms' },
        models: {
          chat: {
            sources: sources.map((members, index) => {
              const name = 'abc'[index]!
              return { name, ...(index === 0 ? {} : { api_key: `key-${name}` }), ...members }
            }),
          },
          spare: {},
        },
      },
    },
  })
  const lines: Record<string, unknown>[] = []
  const log = pino(
    { level: 'info' },
    new Writable({
      write(chunk, _encoding, done) {
        lines.push(JSON.parse(String(chunk)))
        done()
      },
    }),
  )
  const service = await openTestService(config)
  const worker = await openWorker({ config: createLiveConfig(config), log, version: '0.0.0-test' })
  onTestFinished(worker.close)

  async function ask(count: number, body: object = {}): Promise<Job[]> {
    const made = await service.submitAll(
      Array.from({ length: count }, (_, index) => ({
        type: 'chat',
        body: {
          model: 'sim/chat',
          messages: [{ role: 'user', content: `${JSON.stringify(body)} ${index}` }],
          ...body,
        },
      })),
    )
    return Promise.all(
      made.map(async ({ id }) => (await service.call<Job>('GET', `/v1/jobs/${id}?wait=20`)).body),
    )
  }
  const attemptsOf = async (id: string) =>
    (await service.call<{ data: Attempt[] }>('GET', `/v1/jobs/${id}/attempts`)).body.data
  const readLane = async () => (await service.call<LaneView>('GET', '/v1/lanes/sim%2Fchat')).body
  return { simulator, service, ask, attemptsOf, readLane, lines }
}

test('a lane is served by all of its sources, each with its key and its name of the model', async () => {
  const { simulator, ask, attemptsOf, readLane } = await open({ latencyMs: 30 }, [
    {},
    { deployment: 'chat-b' },
    { limits: { max_concurrency: 20 } },
  ])
  const jobs = await ask(40)
  expect(jobs.map(({ status }) => status)).toEqual(Array(40).fill('completed'))
  const used = Map.groupBy(simulator.calls(), ({ key, model }) => `${key} ${model}`)
  expect([...used.keys()].sort()).toEqual(['key-a chat', 'key-b chat-b', 'key-c chat'])
  // Half of the slots are those of c.
  expect(used.get('key-c chat')!.length).toBeGreaterThan(used.get('key-a chat')!.length)
  const names = await Promise.all(jobs.map(async ({ id }) => (await attemptsOf(id))[0]!.source))
  expect([...new Set(names)].sort()).toEqual(['a', 'b', 'c'])
  const lane = await readLane()
  expect(lane).toMatchObject({ limits: { concurrency: 40 }, in_flight: 0 })
  expect(lane.sources.map(({ name, model }) => [name, model])).toEqual([
    ['a', 'chat'],
    ['b', 'chat-b'],
    ['c', 'chat'],
  ])
  expect(JSON.stringify(lane)).not.toContain('key-')
  // One cache for all sources.
  const before = simulator.state().billed_calls
  expect((await ask(40)).every(({ cache }) => cache === 'hit')).toBe(true)
  expect(simulator.state().billed_calls).toBe(before)
})

test('a source that refuses us is shut, loudly, and its jobs go to the others without a lost attempt', async () => {
  const { simulator, service, ask, attemptsOf, readLane, lines } = await open()
  simulator.setFaults([
    { kind: '401', key: 'key-a' },
    { kind: 'quota', key: 'key-b' },
  ])
  const jobs = await ask(30)
  expect(jobs.map(({ status, attempts }) => [status, attempts])).toEqual(Array(30).fill(['completed', 1]))
  const all = (await Promise.all(jobs.map(({ id }) => attemptsOf(id)))).flat()
  expect(all.filter(({ outcome }) => outcome === 'completed').every(({ source }) => source === 'c')).toBe(
    true,
  )
  const lane = await readLane()
  expect(lane.sources.map(({ shut }) => shut?.reason ?? null)).toEqual([
    'invalid_api_key',
    'insufficient_quota',
    null,
  ])
  expect(lane).toMatchObject({ paused_until: null })
  const told = lines.filter(({ msg }) => String(msg).startsWith('source shut'))
  expect(told.map(({ level, lane, source }) => [level, lane, source]).sort()).toEqual([
    [50, 'sim/chat', 'a'],
    [50, 'sim/chat', 'b'],
  ])
  expect(JSON.stringify(told)).not.toContain('key-')

  // The last one is shut too: the lane waits and says why, and a route goes on to its next lane.
  simulator.setFaults(
    ['a', 'b', 'c'].map((name) => ({ kind: '403' as const, key: `key-${name}`, match: '"chat"' })),
  )
  const routed = await ask(1, { model: 'either' })
  expect(routed[0]).toMatchObject({ status: 'completed', lane: 'sim/spare' })
  const stuck = await service.submit({
    type: 'chat',
    body: { model: 'sim/chat', messages: [{ role: 'user', content: 'waits' }] },
  })
  const waiting = await readLane()
  expect(waiting.paused_reason).toBe(
    'a: invalid_api_key; b: insufficient_quota; c: unsupported_country_region_territory',
  )
  // Resuming brings back what was put off before it.
  await until(async () => (await readLane()).backlog.delayed === 1)
  simulator.setFaults([])
  expect((await service.call('POST', '/v1/lanes/sim%2Fchat/resume')).status).toBe(200)
  const done = await service.call<Job>('GET', `/v1/jobs/${stuck.body.id}?wait=10`)
  expect(done.body).toMatchObject({ status: 'completed', attempts: 1 })
})

test('a response goes back to the source where the one before it lives', async () => {
  const { simulator, service, readLane } = await open({}, [{ weight: 1000 }, {}, {}])
  const respond = async (input: string, previous?: string) => {
    const body = {
      model: 'sim/chat',
      input,
      ...(previous === undefined ? {} : { previous_response_id: previous }),
    }
    const answer = await service.call<{ id: string; output: unknown[] }>('POST', '/v1/responses', { body })
    expect(answer.status).toBe(200)
    return answer.body.id
  }
  simulator.setFaults([{ kind: '429', key: 'key-a', times: 1, retry_after: 300 }])
  const first = await respond('first')
  const home = simulator.calls().at(-1)!.key
  expect(home).not.toBe('key-a')
  simulator.setFaults([])
  await until(async () => (await readLane()).sources.every(({ paused_until }) => paused_until === null))
  // Each has been asked once, and from then on the weight leads to a.
  for (const input of ['elsewhere', 'once more']) await respond(input)
  expect(simulator.calls().at(-1)!.key).toBe('key-a')
  for (const input of ['second', 'third']) {
    await respond(input, first)
    expect(simulator.calls().at(-1)!.key).toBe(home)
  }
})
