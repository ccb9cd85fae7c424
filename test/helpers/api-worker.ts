import type { Config } from '../../config/schema.ts'
import type { Claimed } from '../../jobs/claim.ts'
import type { AttemptEnd } from '../../jobs/finish.ts'
import type { JobError } from '../../jobs/job.ts'
import type { LaneQueue } from '../../jobs/lane-queue.ts'
import { createOutbox } from '../../jobs/outbox.ts'
import { createQueues } from '../../jobs/queue.ts'
import type { Held } from '../../jobs/queue-entry.ts'
import { ALONE, createScripts } from '../../jobs/scripts.ts'
import { createWork } from '../../jobs/work.ts'
import type { JsonObject, JsonValue } from '../../lib/json.ts'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import type { Usage } from '../../lib/usage.ts'
import { createFairness } from '../../ratelimit/create-fairness.ts'
import { createLaneOrder } from '../../services/lane-order.ts'
import { testAtRest } from './encryption.ts'
import type { TestPlace } from './redis.ts'

const LANE = 'openai/small'

/** A job whose call is under way. */
export type Running = { held: Held; claimed: Claimed; queue: LaneQueue }

/** A worker whose every step a test decides: to the store it does what a worker does, but it makes no calls. */
export type TestWorker = {
  /** Starts the next job of the lane. */
  next(lane?: string): Promise<Running>
  /** Starts this job; entries that come before it go back to their places. */
  start(id: string, lane?: string): Promise<Running>
  stream(running: Running, chunks: JsonValue[]): Promise<boolean>
  complete(running: Running, outcome?: { result?: JsonObject; costUsd?: number }): Promise<void>
  fail(running: Running, error?: Partial<JobError>): Promise<void>
  /** Puts the job back until `at`, Unix ms. */
  retry(running: Running, at: number): Promise<void>
  /** Starts and completes a job. */
  finish(id: string, outcome?: { result?: JsonObject; costUsd?: number }): Promise<void>
  /** Starts a job and lets it fail. */
  finishFailed(id: string, error?: Partial<JobError>): Promise<void>
  close(): Promise<void>
}

/** How long an entry may take from the 202 to its lane, ms. */
const PATIENCE_MS = 15_000

const usage: Usage = { input_tokens: 7, output_tokens: 5, total_tokens: 12 }
const intent = { provider: 'openai', model: 'small', coalesced: 1, waitedFor: null }

export function openTestWorker({ place, config }: { place: TestPlace; config: Config }): TestWorker {
  const { prefix } = place
  const redis = createRedis({ ...place, role: 'bullmq', name: 'test-worker' })
  const order = createLaneOrder({
    fairness: createFairness({ redis, prefix }),
    config: () => config,
    // Nobody awaits this, as in the service; a connection that closes in between is not a fault.
    onError: () => {},
  })
  const queues = createQueues({ connection: redis, prefix, stalledAfterMs: 15_000, order })
  const scripts = createScripts(redis, { ...ALONE, following: () => 'deltas' })
  const outbox = createOutbox({ redis, scripts, queues, prefix, now: Date.now })
  const settings = () => ({
    retainMs: config.jobs.retain,
    cacheTtlMs: config.cache.ttl,
    cacheMaxBytes: config.cache.max_result,
  })
  const work = createWork({
    ...{ redis, scripts, outbox, prefix, settings },
    atRest: testAtRest(),
    // No answer here has bytes of its own.
    putFiles: async () => {},
    now: Date.now,
  })
  const lanes = new Map<string, LaneQueue>()

  function laneOf(lane: string): LaneQueue {
    const queue = lanes.get(lane) ?? queues.consume(lane, { onStalled() {}, onError() {} })
    lanes.set(lane, queue)
    return queue
  }

  /** Fetches until `wanted` accepts an entry; the others go back. */
  async function fetch(lane: string, wanted: (held: Held) => boolean): Promise<Running> {
    const queue = laneOf(lane)
    const others: Held[] = []
    const deadline = performance.now() + PATIENCE_MS
    try {
      while (performance.now() < deadline) {
        const [held] = await queue.fetch(1)
        if (!held) await new Promise((resolve) => setTimeout(resolve, 5))
        else if (wanted(held)) {
          queue.served([held], false)
          return { ...(await claim(held)), queue }
        } else others.push(held)
      }
    } finally {
      for (const held of others.reverse()) await queue.giveBack(held)
    }
    throw new Error(`the entry did not come to ${lane} within ${PATIENCE_MS} ms`)
  }

  async function claim(held: Held): Promise<{ held: Held; claimed: Claimed }> {
    const [started] = await work.start([held], intent)
    if (started?.kind !== 'run') throw new Error(`expected a job that wants a call, got ${started?.kind}`)
    return { held, claimed: started.claimed }
  }

  const worker: TestWorker = {
    next: (lane = LANE) => fetch(lane, () => true),
    start: (id, lane = LANE) => fetch(lane, (held) => held.id === id),
    stream: ({ claimed }, chunks) => work.stream(claimed, chunks),
    async complete({ claimed, held, queue }, { result = { answer: 'hi' }, costUsd = 0 } = {}) {
      const end: AttemptEnd = { outcome: 'completed', latency_ms: 12, status: 200, usage, cost_usd: costUsd }
      await work.complete([{ claimed, end, result, usage, costUsd }])
      await queue.acknowledge(held)
    },
    async fail({ claimed, held, queue }, error = {}) {
      const whole = { code: 'boom', message: 'It broke.', provider_status: 500, retryable: true, ...error }
      const end: AttemptEnd = { outcome: 'failed', latency_ms: 9, status: 500, error_code: whole.code }
      await work.fail(claimed, end, whole, false)
      await queue.acknowledge(held)
    },
    async retry({ claimed, held, queue }, at) {
      const end: AttemptEnd = { outcome: 'retryable', latency_ms: 9, status: 500, error_code: 'boom' }
      const next = { at, countsAsAttempt: true, reason: 'boom', waitingFor: 'retry_delay' } as const
      await work.requeue(claimed, end, next)
      await queue.delay(held, at)
    },
    finish: async (id, outcome) => worker.complete(await worker.start(id), outcome),
    finishFailed: async (id, error) => worker.fail(await worker.start(id), error),
    async close() {
      for (const queue of lanes.values()) await queue.close()
      await outbox.idle()
      await closeRedis(redis)
    },
  }
  return worker
}
