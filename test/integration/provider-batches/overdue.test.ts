import { expect, onTestFinished, test } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import { createIds } from '../../../lib/job-id.ts'
import { createGathering } from '../../../provider-batches/gathering.ts'
import { createBatchApi } from '../../../provider-batches/providers/create-api.ts'
import { runLane } from '../../../provider-batches/runner/lane.ts'
import { createProviderBatchScripts } from '../../../provider-batches/scripts.ts'
import { createProviderBatchStore } from '../../../provider-batches/store.ts'
import { createBatchLines } from '../../../providers/batch-lines.ts'
import { createAgent } from '../../../providers/connections.ts'
import { createSimulator } from '../../../simulator/simulator.ts'
import { parseTestConfig } from '../../helpers/api.ts'
import { newJob, openTestStore, TENANT } from '../../helpers/store.ts'

const HOUR_MS = 60 * 60_000

test.each([
  // Nothing is at the provider, so nothing may be billed.
  { what: 'takes no file', fault: 'reset_before', path: 'POST /v1/files', isAmbiguous: false, lines: 0 },
  {
    what: 'answers no creation',
    fault: 'reset_before',
    path: 'POST /v1/batches',
    isAmbiguous: true,
    lines: 0,
  },
  { what: 'tells no state', fault: '500', path: 'GET /v1/batches', isAmbiguous: true, lines: 1 },
] as const)(
  'a job leaves its batch in time where the provider $what, and is in no batch that is made later',
  async ({ fault, path, isAmbiguous, lines }) => {
    const simulator = createSimulator({ batches: { turnaroundMs: 1e9 } })
    const base_url = await simulator.listen()
    onTestFinished(() => simulator.close())
    const dispatcher = createAgent(null)
    onTestFinished(() => dispatcher.close())
    const store = await openTestStore()
    const scripts = createProviderBatchScripts(store.redis)
    const parts = { redis: store.redis, scripts, prefix: store.prefix }
    const batches = createProviderBatchStore(parts)
    const gathering = createGathering({ ...parts, weightOf: () => 1, now: Date.now })
    const tiers = { batch: { gather: '1ms', poll: '10ms', leave_before: '1h' } }
    const up = { kind: 'openai', base_url, api_key: 'unused-but-long', models: { '*': { tiers } } }
    const config = parseTestConfig({ providers: { up }, routes: {} } as unknown as Parameters<
      typeof parseTestConfig
    >[0])
    const id = 'up/m'
    const lane = resolveLane(config, id)!
    const made = newJob({
      ...{ lane: id, model: id, body: { model: id, max_tokens: 8, messages: [] } },
      gather: { type: 'chat', leaveAt: Date.now() + HOUR_MS, bytes: 300 },
    })
    const [job] = (await store.jobs.createMany([made])) as { id: string }[]
    simulator.setFaults([{ kind: fault, path }])
    await gathering.add([
      {
        ...{ tenant: TENANT, id: job!.id, entry: 1, lane: id, priority: 'normal', notBefore: null },
        ...{ cost: made.cost, gather: made.gather! },
      },
    ])

    let aheadMs = 0
    const failed = Promise.withResolvers<void>()
    const stop = new AbortController()
    const held = (await batches.claim(id, 'token'))!
    const run = runLane(
      {
        ...{ store: batches, work: store.work, now: () => Date.now() + aheadMs },
        newId: createIds('pbatch_', Date.now),
        laneOf: () => ({
          ...{ lane, tier: lane.tiers!.batch!, isClosed: false },
          api: createBatchApi(config.providers.up!, dispatcher),
          lines: createBatchLines('up', config.providers.up!, Date.now),
          by: () => null,
          chooseSource: async () => null,
        }),
        prepare: async (_, { claimed }) => ({
          body: claimed.body,
          deliver: () => Promise.reject(new Error('nothing is answered')),
        }),
        areOver: async (some) => some.map(() => true),
        onError: () => failed.resolve(),
        onEvent() {},
      },
      held,
      stop.signal,
    )
    onTestFinished(() => stop.abort())
    await failed.promise
    expect((await store.jobs.get(TENANT, job!.id))!.status).toBe('running')

    aheadMs = 2 * HOUR_MS
    await expect
      .poll(async () => (await store.jobs.get(TENANT, job!.id))!.status, { timeout: 20_000 })
      .toBe('queued')
    const [attempt] = (await store.jobs.attempts(TENANT, job!.id))!
    expect(attempt).toMatchObject({
      outcome: 'aborted',
      error_code: 'batch_too_slow',
      ambiguous: isAmbiguous,
    })

    simulator.setFaults([])
    await run.done
    expect(simulator.batches.batches().reduce((sum, batch) => sum + batch.lines, 0)).toBe(lines)
    expect(await batches.recent(10)).toMatchObject([{ state: 'ended' }])
  },
)
