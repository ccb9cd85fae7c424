import { randomUUIDv7 } from 'node:crypto'
import type { Logger } from 'pino'
import { decodeEncryptionKey } from '../config/encryption-key.ts'
import type { Config } from '../config/schema.ts'
import type { LiveConfig } from '../config/watch.ts'
import { FileStoreError } from '../files/object-store.ts'
import type { AtRest } from '../jobs/at-rest.ts'
import { createDurability } from '../jobs/durability.ts'
import { createMemoryAdmission } from '../jobs/memory-admission.ts'
import { createOpenLanes, type OpenLanes } from '../jobs/open-lanes.ts'
import type { PubSub } from '../jobs/pubsub.ts'
import { createReplyInbox, type ReplyInbox } from '../jobs/reply-inbox.ts'
import { createEmitter } from '../lib/emitter.ts'
import { closeRedis, createRedis, type RedisClient, type RedisRole } from '../lib/redis.ts'
import { createRedisClock } from '../lib/redis-clock.ts'
import { nameRedis } from '../lib/redis-fault.ts'
import { createSealer } from '../lib/sealer.ts'
import { renderResult } from '../providers/vectors.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Closers } from './closers.ts'
import { openFileStores } from './file-stores.ts'
import { openHistory } from './history.ts'
import { createJobStore } from './job-store.ts'
import { countEvents, logEvents, type ProcessEvents } from './listeners.ts'
import { createRedisFaultLog, type RedisFaultLog } from './redis-fault-log.ts'
import { startRedisWatch } from './redis-watch.ts'
import { createUpkeepLog } from './upkeep-log.ts'

export type ServicesDeps = {
  config: LiveConfig
  log: Logger
  version: string
  /** Of the process; absent: each service has its own metrics. */
  metrics?: Metrics
  /** Of the process; absent: each service logs faults of Redis itself. */
  redisFaults?: RedisFaultLog
}

export type MeteredDeps = ServicesDeps & { metrics: Metrics }

/** The needs of both roles: connections, the job store, the gate. */
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
  /** A monotonic clock, which nobody can set. */
  const elapsed = () => performance.now()
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
  /** The monitor logs errors of Redis' state once; other errors are logged where they occur. */
  const report = (error: unknown, line: string) => {
    // The monitor of a file store also has its own log line.
    if (watch.take(error) || error instanceof FileStoreError) log.debug({ err: error }, line)
    else log.warn({ err: error }, line)
  }
  const onError = (error: unknown, what: string) => report(error, `${what} failed`)
  const emitter = createEmitter<ProcessEvents>((error, name) => onError(error, `telling of ${name}`))
  countEvents(emitter, metrics)
  logEvents(emitter, log)
  const onFailure = createUpkeepLog({
    log,
    count: metrics.upkeep.onFailure,
    isKnown: (error) => watch.take(error) || error instanceof FileStoreError,
    now: elapsed,
  })
  const sealer = createSealer({ keys: encryptionKeys(settings()), now: elapsed })
  const leaveKeys = config.subscribe((next) => sealer.replace(encryptionKeys(next)))
  closers.add('the encryption keys', async () => leaveKeys())
  const durability = settings().redis.durable
    ? createDurability({ connection: connect('commands'), prefix })
    : null
  const fileStores = openFileStores({ config: settings, log, metrics }, { redis, prefix, now }, closers)
  const history = openHistory(deps, closers)
  const store = createJobStore({
    redis: {
      commands: redis,
      subscriber: connect('subscriber'),
      // A worker's loops wait for Redis; a client of the API does not.
      queues: role === 'api' ? redis : connect('bullmq'),
    },
    config: settings,
    events: emitter,
    sealer,
    fileStores,
    memory,
    history,
    ...(durability ? { confirm: durability.confirm } : {}),
    ...(role === 'api'
      ? { openReplies: (made) => openReplies({ redis, ...made, prefix, cluster, now: elapsed }, closers) }
      : {}),
    now,
    report,
    onSlip: (error, what) => log.debug({ err: error }, what),
    onFailure,
    onUnreadable: (error, job) => log.error({ err: error, job }, 'a job cannot be decrypted'),
    onOpen: closers.add,
  })
  const { maintenance } = store
  return {
    ...store,
    ...{ fileStores, watch, report, onError, onFailure, emitter, memory, durability, clock, sealer },
  }
}

/** How an API process hears of the ends of awaited jobs, and of workers for direct dispatch. */
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
  // A node of a cluster cannot report whether a worker heard a message. There, every job goes through its queue.
  if (cluster !== undefined && cluster.length > 0) return { replyInbox, openLanes: null }
  return { replyInbox, openLanes: createOpenLanes(deps) }
}

function encryptionKeys(config: Config): Buffer[] {
  return config.encryption.keys.map(decodeEncryptionKey)
}
