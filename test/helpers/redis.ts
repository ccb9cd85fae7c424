import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Cluster } from 'ioredis'
import { inject } from 'vitest'
import { type EmbeddedRedis, startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import type { RedisClient } from '../../lib/redis.ts'
import { RUN_VARIABLE } from './run-processes.ts'

/**
 * A test's place: the Redis and the prefix. Of a cluster, `url` is one of its nodes; `createRedis` takes them all.
 */
export type TestPlace = { url: string; cluster?: string[]; prefix: string }

/**
 * The Redis that all test files share, or the cluster, with a key prefix of one's own. The fastest way; never flush
 * it.
 */
export function testRedis(): TestPlace {
  const cluster = inject('clusterUrls')
  return cluster.length > 0 ? placeOn(cluster) : { url: inject('redisUrl'), prefix: `test-${randomUUID()}` }
}

/** All keys that match, of all nodes of a cluster. */
export async function keysOf(redis: RedisClient, pattern: string): Promise<string[]> {
  await redis.ping() // A cluster knows its nodes once it is connected.
  const nodes = redis instanceof Cluster ? redis.nodes('master') : [redis]
  return (await Promise.all(nodes.map((node) => node.keys(pattern)))).flat()
}

/** The member `redis` of a configuration. */
export function toConfig({ url, cluster, prefix }: TestPlace) {
  return cluster === undefined ? { url, prefix } : { cluster, prefix }
}

/** A place of one's own on a cluster. */
export function placeOn(cluster: string[]): TestPlace {
  return { url: cluster[0]!, cluster, prefix: `test-${randomUUID()}` }
}

export type TestRedisOptions = {
  /** Keeps its data over a restart; takes a moment longer. */
  durable?: boolean
  maxmemory?: string
  /** False for nodes and replicas, which have to reach one another. */
  hasPassword?: boolean
  extraArgs?: string[]
}

/** A Redis of one's own, in about 100 ms: to flush, to fill, to kill. Close it at the end. */
export async function startTestRedis({
  durable = false,
  maxmemory,
  hasPassword = true,
  extraArgs = [],
}: TestRedisOptions = {}): Promise<EmbeddedRedis> {
  const directory = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'redis-'))
  const redis = await startEmbeddedRedis({
    directory,
    hasPassword,
    ...(maxmemory === undefined ? {} : { maxmemory }),
    extraArgs: ['--appendonly', durable ? 'yes' : 'no', ...extraArgs],
  })
  return {
    url: redis.url,
    port: redis.port,
    get pid() {
      return redis.pid
    },
    async close() {
      await redis.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
