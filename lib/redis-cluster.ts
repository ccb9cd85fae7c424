import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { type CommandMeter, meterCommand } from './command-meter.ts'

/**
 * How often a command is redirected, or repeated after 100 ms while its slot is being moved or has lost its node. This takes longer than
 * callers of commands wait, because they have a time limit.
 */
const MOST_REDIRECTIONS = 100

/**
 * Creates a client of a Redis Cluster. Credentials and TLS of the first URL are used for all nodes.
 *
 * @param limits.limitMs commands fail after this time; null: they wait
 * @param limits.meter counts the commands; null: nothing is counted
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
    // Certificates contain host names, which a DNS lookup before connecting would turn into addresses.
    dnsLookup: (address, callback) => callback(null, address),
    redisOptions: { ...options, ...readCredentials(urls[0], options), replyMapping: 'legacy' },
  })
  cluster.limitMs = limitMs
  cluster.meter = meter
  return cluster
}

/**
 * Creates a connection for subscriptions. Every node of a cluster delivers all messages, so it connects to any node, and to the next one
 * when the connection is lost. ioredis' own cluster subscriber does not report a lost connection.
 */
export function createClusterSubscriber(urls: readonly string[], options: RedisOptions): Redis {
  // So that not all processes connect to the same node.
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

/** ioredis starts a command's timeout when a node gets the command, which never happens while no node is available. */
class PromptCluster extends Cluster {
  limitMs: number | null = null
  meter: CommandMeter | null = null

  override sendCommand(...args: Parameters<Cluster['sendCommand']>): unknown {
    if (this.meter !== null) {
      meterCommand(this.meter, args[0])
      this.meter.writes = this.meter.commands // each command goes to its node separately
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
