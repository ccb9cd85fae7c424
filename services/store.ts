import { randomUUIDv7 } from 'node:crypto'
import type { Logger } from 'pino'
import { createBatchTenants } from '../batches/batch-tenants.ts'
import { createBatchScripts } from '../batches/scripts.ts'
import { batchChannel, createBatches } from '../batches/store.ts'
import { createBatchWork } from '../batches/work.ts'
import { decodeEncryptionKey } from '../config/encryption-key.ts'
import { isNamedLane, resolveLane } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import type { LiveConfig } from '../config/watch.ts'
import { createDurableScripts } from '../durable/scripts.ts'
import { createDurableRuns } from '../durable/store.ts'
import { createFollowed } from '../events/followed.ts'
import { createFileStore } from '../files/store.ts'
import { createFlowScripts } from '../flows/scripts.ts'
import { createFlows } from '../flows/store.ts'
import { createActiveTenants, touchingTenants } from '../jobs/active-tenants.ts'
import { type AtRest, createAtRest } from '../jobs/at-rest.ts'
import { createDueTimers } from '../jobs/due-timers.ts'
import { createDurability } from '../jobs/durability.ts'
import { tenantOf, tenantRoot } from '../jobs/keys.ts'
import { createMaintenance } from '../jobs/maintenance.ts'
import { createMemoryAdmission } from '../jobs/memory-admission.ts'
import { createOpenLanes, type OpenLanes } from '../jobs/open-lanes.ts'
import { createOutbox } from '../jobs/outbox.ts'
import { createPubSub, type PubSub } from '../jobs/pubsub.ts'
import { createQueues, hadItsTurn } from '../jobs/queue.ts'
import { createQueueAdmission } from '../jobs/queue-admission.ts'
import { createReplyInbox, type ReplyInbox } from '../jobs/reply-inbox.ts'
import { createScripts } from '../jobs/scripts.ts'
import { createJobs } from '../jobs/service.ts'
import { createTenantStatsReader } from '../jobs/tenant-stats.ts'
import { createEmitter } from '../lib/emitter.ts'
import { createIds, createJobIds } from '../lib/job-id.ts'
import { closeRedis, createRedis, type RedisClient, type RedisRole } from '../lib/redis.ts'
import { createRedisClock } from '../lib/redis-clock.ts'
import { nameRedis } from '../lib/redis-fault.ts'
import { createSealer } from '../lib/sealer.ts'
import { renderResult } from '../providers/vectors.ts'
import { createBrokenCalls } from '../ratelimit/broken-calls.ts'
import { createFairness, flowOf, priorityOf, serviceSeconds, serviceShares } from '../ratelimit/fairness.ts'
import { createForecaster } from '../ratelimit/forecaster.ts'
import { createGate } from '../ratelimit/gate.ts'
import { createLatencies } from '../ratelimit/latencies.ts'
import { createScheduleScripts } from '../schedules/scripts.ts'
import { createSchedules } from '../schedules/store.ts'
import { createScheduleWork } from '../schedules/work.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { createWebhookStore } from '../webhooks/store.ts'
import type { Closers } from './closers.ts'
import { openTenantEvents } from './events.ts'
import { countEvents, logEvents, type ProcessEvents } from './listeners.ts'
import { createRedisFaultLog, type RedisFaultLog } from './redis-fault-log.ts'
import { startRedisWatch } from './redis-watch.ts'
import { createUpkeepLog } from './upkeep-log.ts'

export type ServicesDeps = {
  config: LiveConfig
  log: Logger
  version: string
  /** Of the process; without it each service has metrics of its own. */
  metrics?: Metrics
  /** Of the process; without it each service says by itself what is wrong with Redis. */
  redisFaults?: RedisFaultLog
}

export type MeteredDeps = ServicesDeps & { metrics: Metrics }

/** What both roles need: connections, the job store, the gate. */
export function openStore(deps: MeteredDeps, role: 'api' | 'worker', closers: Closers) {
  const { config, log, metrics } = deps
  const settings = () => config.current()
  const { prefix, url, cluster, tls } = settings().redis
  const connect = (redisRole: RedisRole) => {
    const client = createRedis({
      ...(url === undefined ? {} : { url }),
      ...(cluster === undefined ? {} : { cluster }),
      ...(tls === undefined ? {} : { tls }),
      role: redisRole,
      name: `sluice-${role}-${redisRole}`,
      onError: (error) => {
        log.debug({ err: error }, 'redis connection')
        watch.take(error)
      },
      meter: metrics.redis.meter(redisRole),
    })
    closers.add(`the redis connection for ${redisRole}`, () => closeRedis(client))
    return client
  }
  const redis = connect('commands')
  const clock = createRedisClock({ redis })
  closers.add('the clock', async () => clock.close())
  const { now } = clock
  /** For spans of time, which nobody's setting a clock is to change. */
  const elapsed = () => performance.now()
  const pubsub = createPubSub({ subscriber: connect('subscriber') })
  const memory = createMemoryAdmission({ redis, share: settings().redis.memory_share, now: elapsed })
  const watch = startRedisWatch({
    redis,
    prefix,
    checkMemory: memory.isShort,
    faults:
      deps.redisFaults ?? createRedisFaultLog({ log, address: nameRedis({ url, cluster }), now: elapsed }),
    onBack: () => {
      maintenance.tenants().catch(() => {}) // the next pass does it
    },
    now: elapsed,
  })
  closers.add('the watch of redis', () => watch.close())
  /** What is Redis' state is said once, by the watch; anything else by whoever meets it. */
  const report = (error: unknown, line: string) => {
    if (watch.take(error)) log.debug({ err: error }, line)
    else log.warn({ err: error }, line)
  }
  const onError = (error: unknown, what: string) => report(error, `${what} failed`)
  const emitter = createEmitter<ProcessEvents>((error, name) => onError(error, `telling of ${name}`))
  countEvents(emitter, metrics)
  logEvents(emitter, log)
  const onFailure = createUpkeepLog({
    log,
    count: metrics.upkeep.onFailure,
    isKnown: watch.take,
    now: elapsed,
  })
  const fairness = createFairness({ redis, prefix })
  const gate = createGate({ redis, prefix })
  const weightOf = (tenant: string) => settings().tenants[tenant]?.weight ?? 1
  const latencies = createLatencies({ redis, prefix })
  const brokenCalls = createBrokenCalls({ redis, prefix })
  closers.add('the latencies', () => latencies.close())
  const forecaster = createForecaster({
    fairness,
    gate,
    laneOf: (id) => resolveLane(settings(), id),
    weightOf,
    async waiting(id) {
      const { waiting, delayed } = await queues.backlog(id)
      return waiting + delayed
    },
    now,
  })
  const queues = createQueues({
    order: {
      async place(laneId, entries, held) {
        const lane = resolveLane(settings(), laneId)
        // A lane that left the configuration still keeps its entries in order.
        const seconds = entries.map(({ cost }) => (lane ? serviceSeconds(lane, cost) : 1))
        const flows = entries.map((entry) => ({
          band: entry.priority,
          later: entry.notBefore !== null,
          again: hadItsTurn(entry),
        }))
        const starts = await fairness.tag(
          laneId,
          entries.map(({ tenant }, index) => ({
            tenant,
            ...flows[index]!,
            seconds: seconds[index]!,
            weight: weightOf(tenant),
          })),
          held,
        )
        if (lane) {
          const sum = { requests: 0, tokens: 0 }
          for (const { cost } of entries) {
            const shares = serviceShares(lane, cost)
            sum.requests += shares.requests
            sum.tokens += shares.tokens
          }
          const all = seconds.reduce((total, one) => total + one, 0)
          fairness.mix(laneId, all, sum).catch((error) => log.debug({ err: error }, 'adding to the mix'))
        }
        return starts.map((start, index) => ({
          start,
          seconds: seconds[index]!,
          priority: priorityOf(start, entries[index]!.priority),
          flow: flowOf(flows[index]!),
          share: seconds[index]! / weightOf(entries[index]!.tenant),
        }))
      },
      holds: (laneId, starts) => fairness.holds(laneId, starts),
      served: (laneId, start, seconds, waiting, anew) => {
        fairness
          .serve(laneId, start, seconds, waiting, anew)
          .catch((error) => log.debug({ err: error }, 'moving the virtual time'))
      },
      left: (laneId, entries) => {
        fairness.untag(laneId, entries).catch((error) => log.debug({ err: error }, 'giving service back'))
      },
    },
    // A worker's loops wait for Redis; a client of the API does not.
    connection: role === 'api' ? redis : connect('bullmq'),
    prefix,
    isNamed: (id) => isNamedLane(settings(), id),
    stalledAfterMs: settings().jobs.stalled_after,
  })
  const followed = createFollowed({
    prefix,
    publish: (channel, message) => redis.publish(channel, message),
    listen: pubsub.keepListening,
    now: elapsed,
  })
  closers.add('the word of who is followed', () => followed.close())
  const active = createActiveTenants({ redis, prefix, now })
  const scripts = touchingTenants(createScripts(redis, followed.read), active, prefix)
  const outbox = createOutbox({ redis, scripts, queues, prefix, now, onFailure })
  closers.add('the outbox', () => outbox.idle())
  const retainMs = () => settings().jobs.retain
  const maintenance = createMaintenance({
    redis,
    scripts,
    outbox,
    prefix,
    retainMs,
    active,
    now,
    events: emitter,
    onFailure,
  })
  const webhooks = createWebhookStore({
    redis,
    root: (tenant) => tenantRoot(prefix, tenant),
    touch: active.touch,
  })
  const sealer = createSealer({ keys: encryptionKeys(settings()), now: elapsed })
  const leaveKeys = config.subscribe((next) => sealer.replace(encryptionKeys(next)))
  closers.add('the encryption keys', async () => leaveKeys())
  const atRest = createAtRest({
    sealer,
    onUnreadable: (error, job) => log.error({ err: error, job }, 'a job cannot be decrypted'),
  })
  const files = createFileStore({
    redis,
    sealer,
    root: (tenant) => tenantRoot(prefix, tenant),
    newId: createIds('file-', now),
    maxBytes: () => settings().files.max_bytes_per_tenant,
  })
  const batchStore = {
    redis,
    scripts: createBatchScripts(redis),
    root: (tenant: string) => tenantRoot(prefix, tenant),
  }
  const batchTenants = createBatchTenants({ ...batchStore, prefix })
  const batches = createBatches({
    ...batchStore,
    announce(tenant) {
      active.touch(tenant)
      batchTenants.add([tenant]).catch(() => {}) // the maintainer does it
    },
    newId: createIds('batch_', now),
    wake: (id) => redis.publish(batchChannel(prefix), id),
  })
  const durable = createDurableRuns({
    redis,
    scripts: createDurableScripts(redis),
    sealer,
    root: (tenant) => tenantRoot(prefix, tenant),
    listen: pubsub.listen,
    retainMs,
    now,
  })
  const scheduleStore = {
    redis,
    scripts: createScheduleScripts(redis),
    sealer,
    prefix,
    root: (tenant: string) => tenantRoot(prefix, tenant),
  }
  const replies =
    role === 'api'
      ? openReplies({ redis, pubsub, prefix, cluster, atRest, now: elapsed }, closers)
      : { replyInbox: null, openLanes: null }
  const durability = settings().redis.durable
    ? createDurability({ connection: connect('commands'), prefix })
    : null
  const dueTimers = createDueTimers({ outbox, now, onError })
  closers.add('the timers of scheduled jobs', async () => dueTimers.close())
  const jobs = createJobs({
    redis,
    scripts,
    queues,
    outbox,
    pubsub,
    prefix,
    retainMs,
    atRest,
    render: renderResult,
    deliveries: webhooks,
    forecaster,
    dueTimers,
    queueAdmission: createQueueAdmission({
      redis,
      prefix,
      tenants: maintenance.tenants,
      most: () => settings().jobs.max_queued,
      now: elapsed,
    }),
    memoryAdmission: memory,
    ...(durability ? { confirm: durability.confirm } : {}),
    newId: createJobIds(now),
    events: emitter,
    now,
    onError: report,
    ...replies,
  })
  const bareFlowScripts = createFlowScripts(redis, followed.read)
  const flowScripts: typeof bareFlowScripts = async (name, root, args) => {
    // A claim changes something only where it finds a flow, and is answered more than two values then.
    if (name !== 'claim') active.touch(tenantOf(prefix, root))
    const answer = await bareFlowScripts(name, root, args)
    if (name === 'claim' && (answer as unknown[]).length > 2) active.touch(tenantOf(prefix, root))
    return answer
  }
  const flows = createFlows({
    redis,
    scripts: flowScripts,
    prefix,
    atRest,
    jobs,
    pubsub,
    deliveries: webhooks.list,
    newId: createIds('flow_', now),
    retainMs,
  })
  const events = openTenantEvents({
    ...{ redis, queues, forecaster, atRest, pubsub, followed, prefix, now },
    readFlow: flows.getByRoot,
    render: renderResult,
  })
  return {
    flows,
    flowScripts,
    watch,
    report,
    onError,
    onFailure,
    emitter,
    redis,
    pubsub,
    queues,
    scripts,
    outbox,
    tenantStats: createTenantStatsReader({ redis, scripts, prefix, retainMs }),
    maintenance,
    active,
    webhooks,
    files,
    batches,
    durable,
    batchTenants,
    batchWork: createBatchWork(batchStore),
    schedules: createSchedules({ ...scheduleStore, newId: createIds('sch_', now), retainMs }),
    scheduleWork: createScheduleWork({ ...scheduleStore, now }),
    memory,
    durability,
    events,
    jobs,
    gate,
    fairness,
    forecaster,
    latencies,
    brokenCalls,
    prefix,
    atRest,
    clock,
    now,
    retainMs,
  }
}

/** How an API process hears of the ends of awaited jobs, and of workers that take them at once. */
function openReplies(
  {
    cluster,
    ...deps
  }: {
    redis: RedisClient
    pubsub: PubSub
    prefix: string
    cluster: readonly string[] | undefined
    atRest: AtRest
    now: () => number
  },
  closers: Closers,
): { replyInbox: ReplyInbox; openLanes: OpenLanes | null } {
  const replyInbox = createReplyInbox({ ...deps, process: randomUUIDv7(), render: renderResult })
  closers.add('the reply inbox', async () => replyInbox.close())
  // A node of a cluster cannot tell whether a worker heard: there every job goes through its queue.
  if (cluster !== undefined && cluster.length > 0) return { replyInbox, openLanes: null }
  return { replyInbox, openLanes: createOpenLanes(deps) }
}

function encryptionKeys(config: Config): Buffer[] {
  return config.encryption.keys.map(decodeEncryptionKey)
}
