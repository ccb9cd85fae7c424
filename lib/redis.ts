import { readFileSync } from 'node:fs'
import type { SecureContextOptions } from 'node:tls'
import type { Cluster, Redis, RedisOptions } from 'ioredis'
import type { CommandMeter } from './command-meter.ts'
import { GatheringRedis } from './gathering-redis.ts'
import { createCluster, createClusterSubscriber } from './redis-cluster.ts'
import { dropWhenSilent } from './redis-silence.ts'

export type RedisClient = Redis | Cluster

/**
 * What a connection is for:
 * - `commands`: short commands for a waiting caller. An answer or an error comes within 2.5 s.
 * - `subscriber`: blocking reads and subscriptions. Waits for Redis as long as necessary.
 * - `bullmq`: as BullMQ requires. Waits likewise; its own loops decide when to give up.
 */
export type RedisRole = 'commands' | 'subscriber' | 'bullmq'

export type RedisTarget = {
  /** `redis://`, `rediss://`, `unix:///path?db=1` or the path of a socket. Not used if `cluster` names nodes. */
  url?: string
  /** URLs of some nodes of a Redis Cluster. Credentials and TLS are taken from the first. */
  cluster?: readonly string[]
  /** Paths of PEM files, for `rediss://`. */
  tls?: { ca?: string | undefined; cert?: string | undefined; key?: string | undefined }
}

export type CreateRedisOptions = RedisTarget & {
  role: RedisRole
  /** Shown by `CLIENT LIST`. */
  name: string
  /** Receives connection failures. The client keeps trying in any case. */
  onError?: (error: Error) => void
  /** Counts the commands; absent: nothing is counted. */
  meter?: CommandMeter
}

/** Time limit of a command. The command may still take effect later, so every write must be idempotent. */
const COMMAND_TIMEOUT_MS = 2_500
const CONNECT_TIMEOUT_MS = 2_000
/** Keeps middleboxes from forgetting the connection. redis-silence.ts finds a peer that vanished. */
const KEEP_ALIVE_MS = 10_000
const RECONNECT_MS = { first: 50, most: 500 }
const QUIT_MS = 1_000
const FAILOVER_MS = 1_000

/**
 * Replies by which Redis says "not now": loading its data, out of memory, demoted, unable to persist, in a long script, in a failover,
 * without its required replicas, moving a slot, or with a different password than ours. Redis < 7 wraps the replies to a script's commands
 * as `ERR Error running script …: -OOM …`.
 */
const REPLIES =
  /^(?:ERR Error running script .*?[:@] ?)?-?(?:LOADING|OOM|READONLY|MISCONF|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|NOREPLICAS|NOAUTH|WRONGPASS|ERR Script attempted to access a non local key)\b/
const TOO_MANY_CLIENTS = /^(?:ERR )?max number of clients reached/

/** ioredis' own errors. It has no codes for them, and most have the class `Error`. */
const CLIENT_NAMES = new Set(['MaxRetriesPerRequestError', 'ClusterAllFailedError', 'UnfitRedisError'])
const CLIENT_MESSAGES =
  /^(?:Command timed out|Command aborted due to connection close|Connection is closed|Stream isn't writeable|Socket timeout\.|Failed to refresh slots cache|Cluster isn't ready|Cluster is (?:ended|disconnect)|None of startup nodes is available|Too many Cluster redirections|connect ETIMEDOUT)/

const SOCKET_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT',
])

/**
 * Creates a client that reconnects for ever. It connects at once. Commands wait for the connection (the offline queue is on), because
 * failing them at each interruption of 50 ms would be worse. So that callers of the `commands` role do not wait while Redis is unavailable,
 * every second failed attempt to connect fails the waiting commands, which is within 1 s. If Redis is connected but silent, they fail after
 * `COMMAND_TIMEOUT_MS`. A connection of any role that is silent for 3 s is replaced. `isRedisUnavailable` knows all of these errors.
 */
export function createRedis({
  url,
  cluster,
  tls,
  role,
  name,
  onError = () => {},
  meter,
}: CreateRedisOptions): RedisClient {
  const options = { ...readRoleOptions(role, name), ...(tls === undefined ? {} : { tls: readTls(tls) }) }
  const client =
    cluster !== undefined && cluster.length > 0
      ? reachCluster(cluster, role, options, meter ?? null)
      : reachServer(url, options, meter ?? null)
  // Without a listener ioredis prints every failure to the console.
  client.on('error', onError)
  if ('nodes' in client) client.on('+node', dropWhenSilent)
  else dropWhenSilent(client)
  return client
}

/** Lets commands under way finish, for a second at most, then closes the connection. */
export async function closeRedis(client: RedisClient): Promise<void> {
  const hasEnded = () => client.status === 'end'
  if (hasEnded()) return
  if (client.status === 'ready') {
    const quitting = client.quit().catch(() => {})
    let timer: NodeJS.Timeout | undefined
    await Promise.race([quitting, new Promise((resolve) => (timer = setTimeout(resolve, QUIT_MS)))])
    clearTimeout(timer)
  }
  if (!hasEnded()) client.disconnect()
}

/** Doubles from 50 ms to 500 ms. */
export function readReconnectDelay(attempt: number): number {
  return Math.min(RECONNECT_MS.first * 2 ** (attempt - 1), RECONNECT_MS.most)
}

/**
 * True for an error of a Redis call that comes from the state of Redis and not from the command: not connected, no answer in time, or a
 * reply that says "not now". Use it only for errors of Redis calls, because other sockets fail with the same codes. Redis may have run the
 * command.
 */
export function isRedisUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (CLIENT_NAMES.has(error.name) || CLIENT_MESSAGES.test(error.message)) return true
  if ('code' in error && typeof error.code === 'string' && SOCKET_CODES.has(error.code)) return true
  if (REPLIES.test(error.message) || TOO_MANY_CLIENTS.test(error.message)) return true
  // A refused transaction has the reason in the errors of its commands.
  if ('previousErrors' in error && Array.isArray(error.previousErrors)) {
    return error.previousErrors.some(isRedisUnavailable)
  }
  if (error instanceof AggregateError) return error.errors.some(isRedisUnavailable)
  return error.cause !== undefined && isRedisUnavailable(error.cause)
}

function readRoleOptions(role: RedisRole, name: string): RedisOptions {
  const common: RedisOptions = {
    connectionName: name.replaceAll(/[^\w.:-]/g, '-'),
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: KEEP_ALIVE_MS,
    reconnectOnError: createFailoverCheck(),
    maxRetriesPerRequest: null,
  }
  if (role !== 'commands') return common
  return { ...common, maxRetriesPerRequest: 1, commandTimeout: COMMAND_TIMEOUT_MS }
}

/**
 * After a failover the old primary still answers but refuses writes: this makes the client look for the new primary and try again there. At
 * most once per second: if the new one is a replica too, the command must fail instead of going back and forth for ever.
 */
function createFailoverCheck(): (error: Error) => 2 | false {
  let lookedAt = Number.NEGATIVE_INFINITY
  return (error) => {
    if (!error.message.startsWith('READONLY') || performance.now() - lookedAt < FAILOVER_MS) return false
    lookedAt = performance.now()
    return 2
  }
}

function reachServer(
  url: string | undefined,
  options: RedisOptions,
  meter: CommandMeter | null,
): GatheringRedis {
  const client = new GatheringRedis(readTarget(url), {
    ...options,
    replyMapping: 'legacy',
    retryStrategy: readReconnectDelay,
  })
  client.meter = meter
  return client
}

function reachCluster(
  urls: readonly string[],
  role: RedisRole,
  options: RedisOptions,
  meter: CommandMeter | null,
): RedisClient {
  if (role === 'subscriber') {
    return createClusterSubscriber(urls, { ...options, retryStrategy: readReconnectDelay })
  }
  return createCluster(urls, options, {
    limitMs: role === 'commands' ? COMMAND_TIMEOUT_MS : null,
    meter,
    clusterRetryStrategy: readReconnectDelay,
    slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
  })
}

/** Contents of the files. Throws if one cannot be read, because TLS must not continue without a certificate. */
function readTls(files: NonNullable<RedisTarget['tls']>): SecureContextOptions {
  const entries = Object.entries(files).filter(([, path]) => path !== undefined)
  return Object.fromEntries(entries.map(([name, path]) => [name, readFileSync(path!)]))
}

/** ioredis accepts sockets only as plain paths. */
function readTarget(url: string | undefined): string {
  if (url === undefined) throw new Error('redis needs a url or the nodes of a cluster')
  return url.replace(/^unix:(?:\/\/)?/, '')
}
