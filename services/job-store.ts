import { createBatchTenants } from '../batches/batch-tenants.ts'
import { createBatchScripts } from '../batches/scripts.ts'
import { batchChannel, createBatches } from '../batches/store.ts'
import { createBatchWork } from '../batches/work.ts'
import { isNamedLane, resolveLane } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import { createDurableScripts } from '../durable/scripts.ts'
import { createDurableRuns } from '../durable/store.ts'
import { createFollowed } from '../events/followed.ts'
import { createFileContents } from '../files/contents.ts'
import { createHeldFiles } from '../files/held-files.ts'
import { createFileLinks } from '../files/links.ts'
import type { ObjectStores } from '../files/objects.ts'
import { createFileStore } from '../files/store.ts'
import { createFlowScripts } from '../flows/scripts.ts'
import { createFlows } from '../flows/store.ts'
import { createActiveTenants, touchingTenants } from '../jobs/active-tenants.ts'
import { createAtRest } from '../jobs/at-rest.ts'
import { createBudgets } from '../jobs/budget-usage.ts'
import { createDueTimers } from '../jobs/due-timers.ts'
import { tenantOf, tenantRoot, wakeChannel } from '../jobs/keys.ts'
import { placeLease } from '../jobs/leases.ts'
import { createMaintenance } from '../jobs/maintenance.ts'
import type { MemoryAdmission } from '../jobs/memory-admission.ts'
import type { OpenLanes } from '../jobs/open-lanes.ts'
import { createOutbox } from '../jobs/outbox.ts'
import { createPubSub } from '../jobs/pubsub.ts'
import { createQueues, type Queues } from '../jobs/queue.ts'
import { createQueueAdmission } from '../jobs/queue-admission.ts'
import type { QueueEntry } from '../jobs/queue-entry.ts'
import type { ReplyInbox } from '../jobs/reply-inbox.ts'
import { createScripts } from '../jobs/scripts.ts'
import { createJobs } from '../jobs/service.ts'
import { createTenantPauses } from '../jobs/tenant-pauses.ts'
import { createTenantStatsReader } from '../jobs/tenant-stats.ts'
import type { Emitter } from '../lib/emitter.ts'
import { createIds, createJobIds } from '../lib/job-id.ts'
import type { RedisClient } from '../lib/redis.ts'
import type { Sealer, UnreadableError } from '../lib/sealer.ts'
import type { OnUpkeepFailure } from '../lib/visit-all.ts'
import { createGathering, type Gathering } from '../provider-batches/gathering.ts'
import { createProviderBatchScripts } from '../provider-batches/scripts.ts'
import { createProviderBatchStore } from '../provider-batches/store.ts'
import { createServerQueues } from '../providers/server-queue.ts'
import { renderResult } from '../providers/vectors.ts'
import { adaptConcurrency, createConcurrencyControl } from '../ratelimit/adaptive-gate.ts'
import { createBrokenCalls } from '../ratelimit/broken-calls.ts'
import { createFairness } from '../ratelimit/create-fairness.ts'
import { createGate } from '../ratelimit/create-gate.ts'
import { createForecaster } from '../ratelimit/forecaster.ts'
import { createLatencies } from '../ratelimit/latencies.ts'
import { readGateFunction } from '../ratelimit/scripts.ts'
import { createScheduleScripts } from '../schedules/scripts.ts'
import { createSchedules } from '../schedules/store.ts'
import { createScheduleWork } from '../schedules/work.ts'
import { createWebhookStore } from '../webhooks/store.ts'
import { describeInputs } from './describe-inputs.ts'
import { openTenantEvents } from './events.ts'
import type { History } from './history.ts'
import { createLaneOrder } from './lane-order.ts'
import type { ProcessEvents } from './listeners.ts'
import { createStartPlans } from './start-plans.ts'

export type JobStoreDeps = {
  /** For commands, for messages, and for queues, which may wait for Redis longer. */
  redis: { commands: RedisClient; subscriber: RedisClient; queues: RedisClient }
  config: () => Config
  /** Receives the store's events; absent: nobody does. */
  events?: Emitter<ProcessEvents>
  sealer: Sealer
  /** File stores outside of Redis; null: there are none. */
  fileStores: ObjectStores | null
  memory: MemoryAdmission
  /** The database of finished jobs; null: there is none. */
  history: History | null
  /** Resolves when earlier writes are on disk; absent: nobody waits for that. */
  confirm?: () => Promise<void>
  /** How this process hears of jobs that its clients wait for; absent: it reads their ends. */
  openReplies?: (made: {
    pubsub: ReturnType<typeof createPubSub>
    atRest: ReturnType<typeof createAtRest>
  }) => { replyInbox: ReplyInbox; openLanes: OpenLanes | null }
  /** Unix ms, by Redis' clock. */
  now: () => number
  report: (error: unknown, line: string) => void
  /** Reports failures that only cost accuracy. */
  onSlip: (error: unknown, what: string) => void
  onFailure?: OnUpkeepFailure
  onUnreadable: (error: UnreadableError, id: string) => void
  /** Receives what runs on its own and must be closed in reverse order. The connections belong to the caller. */
  onOpen: (name: string, close: () => Promise<unknown>) => void
}

/** A monotonic clock, which nobody can set. */
const elapsed = () => performance.now()

/** Adds jobs to the queues of their lanes, or to the jobs that wait for a provider batch. */
async function addEntries(
  queues: Pick<Queues, 'add'>,
  gathering: Pick<Gathering, 'add'>,
  entries: QueueEntry[],
): Promise<void> {
  const gathered = entries.filter(({ gather }) => gather !== undefined)
  if (gathered.length === 0) return queues.add(entries)
  const others = entries.filter(({ gather }) => gather === undefined)
  await Promise.all([gathering.add(gathered), ...(others.length > 0 ? [queues.add(others)] : [])])
}

/** All that is stored in Redis, assembled once for every process and for tests: jobs, what is created from them, and their lanes. */
export function createJobStore(deps: JobStoreDeps) {
  const { config, now, sealer, events } = deps
  const { commands: redis } = deps.redis
  const { prefix } = config().redis
  const root = (tenant: string) => tenantRoot(prefix, tenant)
  const { isCluster } = redis
  const retainMs = () => config().jobs.retain

  const files = createFileStore({
    ...{ redis, sealer, root },
    newId: createIds('file-', now),
    maxBytes: () => config().files.max_bytes_per_tenant,
    objects: deps.fileStores,
  })
  const fileContents = createFileContents({ files })
  const heldFiles = createHeldFiles({ redis, files, root, now })
  const pubsub = createPubSub({ subscriber: deps.redis.subscriber })
  const fairness = createFairness({ redis, prefix })
  const gate = adaptConcurrency(
    createGate({ redis, prefix }),
    createConcurrencyControl({ redis, prefix }),
    createServerQueues((provider) => config().providers[provider]?.base_url ?? null).waiting,
  )
  const latencies = createLatencies({ redis, prefix })
  deps.onOpen('the latencies', () => latencies.close())
  const brokenCalls = createBrokenCalls({ redis, prefix })
  // Once for all that the process holds and starts: a change needs a restart.
  const stalledAfterMs = config().jobs.stalled_after
  const queues = createQueues({
    order: createLaneOrder({ fairness, config, onError: deps.onSlip }),
    connection: deps.redis.queues,
    prefix,
    isNamed: (id) => isNamedLane(config(), id),
    stalledAfterMs,
  })
  const forecaster = createForecaster({
    fairness,
    gate,
    laneOf: (id) => resolveLane(config(), id),
    weightOf: (tenant) => config().tenants[tenant]?.weight ?? 1,
    async waiting(id) {
      const { waiting, delayed } = await queues.backlog(id)
      return waiting + delayed
    },
    now,
  })
  const followed = createFollowed({
    prefix,
    publish: (channel, message) => redis.publish(channel, message),
    listen: pubsub.keepListening,
    now: elapsed,
  })
  deps.onOpen('the word of who is followed', () => followed.close())
  const active = createActiveTenants({ redis, prefix, now })
  const ownScripts = createScripts(redis, {
    following: followed.read,
    onReleased(root, ids) {
      for (const id of ids)
        outbox
          .dispatchById(tenantOf(prefix, root), id)
          .catch((error) => deps.report(error, 'queueing a job whose fair key has room failed'))
    },
    keepsHistory: deps.history !== null,
    gate: isCluster ? null : readGateFunction(),
  })
  const scripts = touchingTenants(ownScripts, active, prefix)
  const onFailure = deps.onFailure === undefined ? {} : { onFailure: deps.onFailure }
  const providerBatchStore = { redis, scripts: createProviderBatchScripts(redis), prefix }
  const gathering = createGathering({
    ...providerBatchStore,
    weightOf: (tenant) => config().tenants[tenant]?.weight ?? 1,
    now,
  })
  const outbox = createOutbox({
    ...{ redis, scripts, prefix, now, ...onFailure },
    queues: { add: (entries) => addEntries(queues, gathering, entries) },
  })
  deps.onOpen('the outbox', () => outbox.idle())
  const maintenance = createMaintenance({
    ...{ redis, scripts, outbox, prefix, retainMs, active, now },
    keepsHistory: deps.history !== null,
    ...(events === undefined ? {} : { events }),
    ...onFailure,
  })
  const atRest = createAtRest({ sealer, onUnreadable: deps.onUnreadable })
  const replies = deps.openReplies?.({ pubsub, atRest }) ?? { replyInbox: null, openLanes: null }
  const dueTimers = createDueTimers({
    outbox,
    now,
    onError: (error, what) => deps.report(error, `${what} failed`),
  })
  deps.onOpen('the timers of scheduled jobs', async () => dueTimers.close())
  const moves = deps.history?.attach({ redis, scripts, prefix, atRest, active, now, config }) ?? null
  const webhooks = createWebhookStore({
    ...{ redis, root, touch: active.touch },
    ...(moves === null ? {} : { findMoved: moves.findMovedDeliveries }),
  })
  const hot = createJobs({
    keyspace: { redis, scripts, prefix, rootOf: root, atRest, retainMs, confirm: deps.confirm ?? null },
    admission: {
      queue: createQueueAdmission({
        redis,
        prefix,
        tenants: maintenance.tenants,
        most: () => config().jobs.max_queued,
        now: elapsed,
      }),
      memory: deps.memory,
    },
    dispatch: {
      ...{ outbox, forecaster, dueTimers, ...replies },
      planStart: isCluster
        ? null
        : createStartPlans({ gate, queues, config, leaseMs: placeLease(stalledAfterMs), now }),
    },
    ...{ queues, pubsub, now },
    render: renderResult,
    files: {
      describeInputs: (job) => describeInputs(job, { fileContents, config }),
      sweep: heldFiles.sweep,
    },
    deliveries: webhooks,
    history: moves,
    newId: createJobIds(now),
    events: events ?? null,
    onError: deps.report,
  })

  const jobs = moves === null ? hot : moves.inFrontOf(hot)

  const batchStore = { redis, scripts: createBatchScripts(redis), root }
  const batchTenants = createBatchTenants({ ...batchStore, prefix })
  const scheduleStore = { redis, scripts: createScheduleScripts(redis), sealer, prefix, root }
  const bareFlowScripts = createFlowScripts(redis, followed.read)
  const flowScripts: typeof bareFlowScripts = async (name, root, args) => {
    // A claim only matters if it finds a flow, and then its answer has more than two values.
    if (name !== 'claim') active.touch(tenantOf(prefix, root))
    const answer = await bareFlowScripts(name, root, args)
    if (name === 'claim' && (answer as unknown[]).length > 2) active.touch(tenantOf(prefix, root))
    return answer
  }
  const flows = createFlows({
    ...{ redis, prefix, atRest, jobs, pubsub, retainMs },
    scripts: flowScripts,
    deliveries: webhooks.list,
    newId: createIds('flow_', now),
  })

  return {
    ...{ redis, prefix, now, retainMs, pubsub, queues, scripts, outbox, maintenance, active, atRest, jobs },
    history: moves,
    ...{ gathering, providerBatches: createProviderBatchStore(providerBatchStore) },
    ...{ gate, fairness, forecaster, latencies, brokenCalls, webhooks, batchTenants, flows, flowScripts },
    tenantPauses: createTenantPauses({
      ...{ redis, root, queues, now },
      wake: (lane) => redis.publish(wakeChannel(prefix), lane),
    }),
    budgets: createBudgets({ redis, scripts, rootOf: root, atRest, now }),
    tenantStats: createTenantStatsReader({ redis, scripts, prefix, retainMs }),
    ...{ files, fileContents, heldFiles, fileLinks: createFileLinks({ redis, prefix }) },
    batches: createBatches({
      ...batchStore,
      announce(tenant) {
        active.touch(tenant)
        batchTenants.add([tenant]).catch(() => {}) // the maintainer does it
      },
      newId: createIds('batch_', now),
      wake: (id) => redis.publish(batchChannel(prefix), id),
    }),
    batchWork: createBatchWork(batchStore),
    durable: createDurableRuns({
      ...{ redis, sealer, root, retainMs, now },
      scripts: createDurableScripts(redis),
      listen: pubsub.listen,
    }),
    schedules: createSchedules({ ...scheduleStore, newId: createIds('sch_', now), retainMs }),
    scheduleWork: createScheduleWork({ ...scheduleStore, now }),
    events: openTenantEvents({
      ...{ redis, queues, forecaster, atRest, pubsub, followed, prefix, now },
      movedEvents: moves?.movedEvents ?? null,
      readFlow: flows.getByRoot,
      render: renderResult,
    }),
  }
}
