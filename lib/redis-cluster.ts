import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { type CommandMeter, meterCommand } from './command-meter.ts'

/**
 * A command is sent on, or again after 100 ms while its slot is being moved or has lost its node, so often: longer than
 * a caller of commands waits, whose limit is a time.
 */
const MOST_REDIRECTIONS = 100

/**
 * A client of a Redis Cluster; credentials and TLS of its first URL go for all nodes.
 *
 * @param limits.limitMs commands are failed after this; null: they wait
 * @param limits.meter counts what is sent; null: nothing is counted
 */
export function createCluster(
  urls: readonly string[],
  options: RedisOptions,
  limits: { limitMs: number | null; meter: CommandMeter | null } & Pick<
    ClusterOptions,
    'clusterRetryStrategy' | 'slotsRefreshTimeout'
  >,
): Cluster {
  const { limitMs, meter, ...ofCluster } = limits
  const cluster = new PromptCluster([...urls], {
    ...ofCluster,
    maxRedirections: MOST_REDIRECTIONS,
    // Certificates name the hosts, which a look-up before connecting would turn into addresses.
    dnsLookup: (address, callback) => callback(null, address),
    redisOptions: { ...options, ...readCredentials(urls[0], options), replyMapping: 'legacy' },
  })
  cluster.limitMs = limitMs
  cluster.meter = meter
  return cluster
}

/**
 * A connection for subscriptions. Every node of a cluster delivers all messages, so it connects to any node, and to the
 * next one when the connection is lost. ioredis' own subscriber of a cluster does not say when it was lost.
 */
export function createClusterSubscriber(urls: readonly string[], options: RedisOptions): Redis {
  // Not all processes at one node.
  let at = process.pid
  const next = () => new URL(urls[at++ % urls.length]!)
  const addressOf = ({ hostname, port }: URL) => ({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || 6379),
  })
  const client: Redis = new Redis({
    ...options,
    ...readCredentials(urls[0], options),
    ...addressOf(next()),
    replyMapping: 'legacy',
    retryStrategy(attempt) {
      Object.assign(client.options, addressOf(next()))
      return options.retryStrategy?.(attempt) ?? null
    },
  })
  return client
}

/** ioredis' time-out of a command begins when a node gets it, which is never while no node is available. */
class PromptCluster extends Cluster {
  limitMs: number | null = null
  meter: CommandMeter | null = null

  override sendCommand(...args: Parameters<Cluster['sendCommand']>): unknown {
    if (this.meter !== null) {
      meterCommand(this.meter, args[0])
      this.meter.writes = this.meter.commands // each goes to its node by itself
    }
    if (this.limitMs !== null) args[0].setTimeout(this.limitMs)
    return super.sendCommand(...args)
  }
}

function readCredentials(url: string | undefined, options: RedisOptions): RedisOptions {
  const first = new URL(url ?? '')
  return {
    ...(first.username === '' ? {} : { username: decodeURIComponent(first.username) }),
    ...(first.password === '' ? {} : { password: decodeURIComponent(first.password) }),
    ...(first.protocol === 'rediss:' ? { tls: options.tls ?? {} } : {}),
  }
}
