import { randomUUID } from 'node:crypto'
import { expect, onTestFinished } from 'vitest'
import { resolveLane } from '../../../config/lanes.ts'
import { loadConfig } from '../../../config/load.ts'
import type { Config } from '../../../config/schema.ts'
import { createDirectDispatch } from '../../../jobs/direct-dispatch.ts'
import type { Job } from '../../../jobs/job.ts'
import { createLeases, lockLease, placeLease } from '../../../jobs/leases.ts'
import type { NewJob } from '../../../jobs/new-job.ts'
import type { Work } from '../../../jobs/work.ts'
import { createWorkerChannels } from '../../../jobs/worker-channels.ts'
import type { JsonObject } from '../../../lib/json.ts'
import { estimateCost } from '../../../providers/accounting.ts'
import { coalesceKey } from '../../../providers/embeddings.ts'
import { createProviders } from '../../../providers/registry.ts'
import { createGate } from '../../../ratelimit/create-gate.ts'
import type { Gate } from '../../../ratelimit/gate.ts'
import type { SimulatorOptions } from '../../../simulator/options.ts'
import { createSimulator } from '../../../simulator/simulator.ts'
import { type Heartbeat, renewInterval, startHeartbeat } from '../../../workers/heartbeat.ts'
import { createRenewal } from '../../../workers/renewal.ts'
import { createServedLanes } from '../../../workers/served-lanes.ts'
import { startWorker, type WorkerDeps } from '../../../workers/worker.ts'
import { standForElection } from '../../helpers/maintainer.ts'
import { newJob, openTestStore, TENANT, type TestStore, type TestStoreOptions } from '../../helpers/store.ts'

export const EMBED_LANE = 'sim/embed'

export type WorkshopOptions = {
  simulator?: SimulatorOptions
  store?: TestStoreOptions
  /** How a faulty connection changes the store's answers. */
  disturb?: (work: Work, store: TestStore) => Work
  limits?: string
  /** One more model of the configuration, as written there. */
  model?: string
  /** After how long lanes of models `"*"` end, ms. */
  laneIdleMs?: number
  /** How long a permit lasts without a sign of life, ms. */
  permitLeaseMs?: number
}

/** A store, a simulated provider with a chat and an embedding lane, and workers on demand; closed with the test. */
export async function openWorkshop(options: WorkshopOptions = {}) {
  const simulator = createSimulator(options.simulator)
  const url = await simulator.listen()
  onTestFinished(() => simulator.close())
  const store = await openTestStore(options.store)
  const config = loadConfig({
    path: '/somewhere/sluice.yaml',
    env: {},
    text: `
providers:
  sim:
    kind: openai-compatible
    base_url: ${url}
    api_key: a-key-for-tests
    timeout: 10s
    limits: ${options.limits ?? '{ max_concurrency: 16 }'}
    retry: { base: 10ms, cap: 20ms }
    models:
      chat: { price: { input: 1, output: 2 } }
      embed: { price: { input: 1 }, coalesce: { max_inputs: 16, max_tokens: 10000, max_wait: 50ms } }
      ${options.model ?? ''}
jobs: { stalled_after: ${options.store?.stalledAfterMs ?? 15_000}ms }
`,
  })
  const providers = createProviders({ config })
  onTestFinished(() => providers.close())
  const { permitLeaseMs: leaseMs } = options
  const gate = createGate({ ...store, ...(leaseMs === undefined ? {} : { leaseMs }) })
  const errors: string[] = []

  async function work(
    disturb = options.disturb ?? ((work: Work) => work),
    { spool, ...overrides }: Partial<WorkerDeps> & { spool?: WorkerDeps['store']['spool'] } = {},
  ) {
    const { laneIdleMs } = options
    const worker = await startWorker(
      {
        ...workerOf(store, config),
        lanes: createServedLanes({ config: () => config, provider: providers.get }),
        store: callStoreOf(store, disturb(store.work, store), spool),
        gate,
        heartbeat: heartbeatOf(store, config, gate),
        onError: (error, what) => errors.push(`${what}: ${error}`),
        ...overrides,
      },
      laneIdleMs === undefined ? {} : { laneIdleMs },
    )
    standForElection(store).add({ name: 'sweep', everyMs: 1000, run: store.maintenance.sweep })
    onTestFinished(() => worker.stop())
    return worker
  }

  return { store, simulator, gate, config, errors, work }
}

/** The create object of an embedding job; `further` members go into its body. */
export function embedJob(
  input: string | string[] | number[][],
  members: Partial<NewJob> = {},
  further: JsonObject = {},
): NewJob {
  const body = { model: EMBED_LANE, input, dimensions: 4, ...further }
  const cost = estimateCost({ kind: 'openai-compatible', type: 'embedding', body })
  return newJob({
    type: 'embedding',
    model: EMBED_LANE,
    lane: EMBED_LANE,
    body,
    cost: { ...cost, coalesceKey: coalesceKey(body) },
    ...members,
  })
}

/** Submits all at once and answers the ids in the order of the jobs. */
export async function submitMany(store: TestStore, jobs: NewJob[]): Promise<string[]> {
  const outcomes = await store.jobs.createMany(jobs)
  return outcomes.map((outcome) => {
    if (outcome.kind !== 'created') throw new Error(`got ${outcome.kind}`)
    return outcome.id
  })
}

/** Resolves with the job when it has ended. */
export async function ended(store: TestStore, id: string, tenant = TENANT): Promise<Job> {
  const job = await store.jobs.wait(tenant, id, 15_000)
  expect(['completed', 'failed', 'cancelled'], `the job is still ${job?.status}`).toContain(job?.status)
  return (await store.jobs.get(tenant, id))!
}

/** A heartbeat of the main loop; the thread has tests of its own. Ends with the test. */
export function heartbeatOf(store: TestStore, config: Config, gate: Gate): Heartbeat {
  const lockMs = lockLease(config.jobs.stalled_after)
  const placeMs = placeLease(config.jobs.stalled_after)
  const heartbeat = startHeartbeat({
    renewal: createRenewal({ leases: createLeases({ ...store, lockMs, placeMs }), gate }),
    renewMs: renewInterval(lockMs),
    limitsOf: (lane) => resolveLane(config, lane),
    thread: null,
    onError() {},
  })
  onTestFinished(() => heartbeat.stop())
  return heartbeat
}

/** Where a worker's jobs come from, and a clock. Nobody listens to its events. */
export function workerOf(
  store: TestStore,
  config: Config,
): Pick<WorkerDeps, 'queues' | 'directDispatch' | 'channels' | 'now' | 'events'> {
  const worker = randomUUID()
  const leaseMs = placeLease(config.jobs.stalled_after)
  const publish = (channel: string, message: string) => store.redis.publish(channel, message)
  return {
    queues: store.queues,
    directDispatch: createDirectDispatch({ ...store, leaseMs, worker }),
    channels: createWorkerChannels({ ...store, publish, worker }),
    now: Date.now,
    events: { emit() {} },
  }
}

/** What the calls of a worker read and write, without a disk by default. */
export function callStoreOf(
  store: TestStore,
  work: Work = store.work,
  spool: WorkerDeps['store']['spool'] = { put: async () => async () => {}, isRecovering: () => false },
): WorkerDeps['store'] {
  return { ...store, work, spool, isThere: async () => true }
}
