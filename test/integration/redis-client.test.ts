import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, type TestContext, test } from 'vitest'
import { startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { createPubSub } from '../../jobs/pubsub.ts'
import { type CreateRedisOptions, closeRedis, createRedis, isRedisUnavailable } from '../../lib/redis.ts'
import { startTestRedis, testRedis } from '../helpers/redis.ts'
import { routeThrough, startRelay } from '../helpers/relay.ts'

type Finishing = Pick<TestContext, 'onTestFinished'>

/** A client that is closed with the test. Tests that run beside others give their own context. */
function connect(
  options: Omit<CreateRedisOptions, 'name'> & { name?: string },
  context: Finishing = { onTestFinished },
) {
  const client = createRedis({ name: 'test', ...options })
  context.onTestFinished(() => closeRedis(client))
  return client
}

/** The error of a promise that has to fail, and how long it took. */
async function fail(promise: Promise<unknown>): Promise<{ error: unknown; elapsedMs: number }> {
  const started = performance.now()
  const error = await promise.then(
    () => expect.unreachable('it should have failed'),
    (reason: unknown) => reason,
  )
  return { error, elapsedMs: performance.now() - started }
}

test('a client can be distinguished from others by its name', async () => {
  const client = connect({ url: testRedis().url, role: 'commands', name: 'api gateway' })
  expect(await client.call('CLIENT', 'GETNAME')).toBe('api-gateway')
})

test('a unix socket works as well as a port', async () => {
  const folder = await mkdtemp(join(tmpdir(), 's-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const redis = await startTestRedis({ hasPassword: false, extraArgs: ['--unixsocket', join(folder, 'r')] })
  onTestFinished(() => redis.close())
  for (const url of [join(folder, 'r'), `unix://${folder}/r?db=1`]) {
    expect(await connect({ url, role: 'commands' }).ping()).toBe('PONG')
  }
})

test('a cluster is reached through any of its nodes', async () => {
  const clustered = ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1']
  const redis = await startTestRedis({ extraArgs: clustered })
  onTestFinished(() => redis.close())
  const single = connect({ url: redis.url, role: 'commands' })
  await single.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  // A node accepts no writes for its first two seconds in a cluster.
  await expect
    .poll(() => single.call('CLUSTER', 'INFO'), { timeout: 10_000, interval: 50 })
    .toMatch(/^cluster_state:ok/)
  const cluster = connect({ cluster: [redis.url], role: 'commands' })
  expect(await cluster.set('{a}x', '1')).toBe('OK')
  expect(await cluster.get('{a}x')).toBe('1')
})

describe.concurrent('a connection that dies silently', () => {
  async function connectByRelay(role: CreateRedisOptions['role'], { onTestFinished }: TestContext) {
    const redis = await startTestRedis()
    const relay = await startRelay(redis.url)
    const client = createRedis({ url: routeThrough(relay, redis.url), role, name: 'test' })
    const other = createRedis({ url: redis.url, role: 'commands', name: 'test' })
    onTestFinished(async () => {
      await Promise.all([closeRedis(client), closeRedis(other)])
      await relay.close()
      await redis.close()
    })
    return { relay, client, other }
  }

  test.for(['commands', 'subscriber', 'bullmq'] as const)(
    'is replaced by a new one in the role %s',
    async (role, context) => {
      const { expect } = context
      const { relay, client } = await connectByRelay(role, context)
      await client.set('kept', 'yes')
      relay.swallow()
      const started = performance.now()
      client.get('kept').catch(() => {})
      await expect
        .poll(() => client.get('kept').catch(() => null), { timeout: 15_000, interval: 100 })
        .toBe('yes')
      expect(performance.now() - started).toBeLessThan(12_000)
    },
  )

  test('is replaced by a subscriber that sends nothing', async (context) => {
    const { expect } = context
    const { relay, client, other } = await connectByRelay('subscriber', context)
    const heard: string[] = []
    const pubsub = createPubSub({ subscriber: client })
    await pubsub.listen('news', (message) => heard.push(message))
    relay.swallow()
    const tell = async () => {
      await other.publish('news', 'told')
      return heard
    }
    await expect.poll(tell, { timeout: 20_000, interval: 200 }).toContain('told')
  })

  test('is replaced again and again while every new one is silent as well', async (context) => {
    const { expect } = context
    const { relay, client } = await connectByRelay('subscriber', context)
    await client.set('kept', 'yes')
    relay.swallowAll()
    const answer = client.get('kept')
    await expect.poll(() => relay.count, { timeout: 15_000 }).toBeGreaterThan(2)
    relay.mend()
    expect(await answer).toBe('yes')
  })
})

describe.concurrent('while Redis is away', () => {
  async function openRedis(context: Finishing) {
    const directory = await mkdtemp(join(process.env.SLUICE_TEST_RUN ?? tmpdir(), 'away-'))
    const redis = await startEmbeddedRedis({ directory })
    context.onTestFinished(() => redis.close())
    return {
      redis,
      connect: (options: Parameters<typeof connect>[0]) => connect(options, context),
      async comeBack() {
        const back = await startEmbeddedRedis({ directory, port: redis.port })
        context.onTestFinished(() => back.close())
      },
      /** Stops it without a word, until the test ends. */
      freeze() {
        process.kill(redis.pid, 'SIGSTOP')
        context.onTestFinished(() => void process.kill(redis.pid, 'SIGCONT'))
      },
    }
  }

  test('commands fail within about a second, each time, and succeed when it is back', async (context) => {
    const { expect } = context
    const { redis, connect, comeBack } = await openRedis(context)
    const client = connect({ url: redis.url, role: 'commands' })
    await client.set('kept', 'yes')
    await redis.close()
    for (let call = 0; call < 4; call++) {
      const { error, elapsedMs } = await fail(client.get('kept'))
      expect(isRedisUnavailable(error), String(error)).toBe(true)
      expect(elapsedMs).toBeLessThan(5_000)
    }
    await comeBack()
    await expect.poll(() => client.get('kept').catch(() => null), { timeout: 20_000 }).toBe('yes')
  })

  test('a short outage is waited out', async (context) => {
    const { expect } = context
    const { redis, connect } = await openRedis(context)
    const client = connect({ url: redis.url, role: 'commands' })
    await client.set('kept', 'yes')
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'no').catch(() => {})
    expect(await client.get('kept')).toBe('yes')
  })

  test.for(['subscriber', 'bullmq'] as const)('the role %s waits for it', async (role, context) => {
    const { expect } = context
    const { redis, connect, comeBack } = await openRedis(context)
    const client = connect({ url: redis.url, role })
    await client.set('kept', 'yes')
    await redis.close()
    const answer = client.get('kept')
    const waiting = connect({ url: redis.url, role: 'commands' })
    // By then a command would have failed.
    await fail(waiting.get('kept'))
    await comeBack()
    expect(await answer).toBe('yes')
  })

  test('a frozen Redis costs a command its time-out and no more', async (context) => {
    const { expect } = context
    const { redis, connect, freeze } = await openRedis(context)
    const client = connect({ url: redis.url, role: 'commands' })
    await client.ping()
    freeze()
    const before = await fail(client.get('kept'))
    const fresh = await fail(connect({ url: redis.url, role: 'commands' }).get('kept'))
    for (const { error, elapsedMs } of [before, fresh]) {
      expect(isRedisUnavailable(error), String(error)).toBe(true)
      expect(elapsedMs).toBeLessThan(10_000)
    }
  })

  test('closing does not wait for it', async (context) => {
    const { expect } = context
    const { redis, connect, freeze } = await openRedis(context)
    const client = connect({ url: redis.url, role: 'bullmq' })
    await client.ping()
    freeze()
    const started = performance.now()
    await closeRedis(client)
    expect(performance.now() - started).toBeLessThan(10_000)
  })
})

test('a full Redis is recognized in commands, scripts and transactions', async () => {
  const redis = await startTestRedis({ maxmemory: '1' })
  onTestFinished(() => redis.close())
  const client = connect({ url: redis.url, role: 'commands' })
  const command = await fail(client.set('a', 'x'))
  const script = await fail(client.eval("return redis.call('SET', KEYS[1], 'x')", 1, 'a'))
  const transaction = await fail(client.multi().set('a', 'x').exec())
  for (const { error } of [command, script, transaction]) {
    expect(isRedisUnavailable(error), String(error)).toBe(true)
  }
})

test('a subscription that is drained gets everything that Redis sent it', async () => {
  const { url, prefix } = testRedis()
  const redis = connect({ url, role: 'commands' })
  const pubsub = createPubSub({ subscriber: connect({ url, role: 'subscriber' }) })
  let heard = 0
  const subscription = pubsub.keepListeningToBytes(`${prefix}:drained`, () => heard++)
  while (!subscription.isActive()) await new Promise((resolve) => setTimeout(resolve, 5))
  const sent = Array.from({ length: 500 }, () => redis.publish(`${prefix}:drained`, 'one'))
  await sent[0]
  await subscription.drain()
  const received = (await Promise.all(sent)).reduce((sum, count) => sum + count, 0)
  expect(received).toBeGreaterThan(0)
  expect(heard).toBe(received)
  // A new listener is subscribed again.
  await pubsub.listen(`${prefix}:drained`, () => heard++)
  expect(await redis.publish(`${prefix}:drained`, 'one')).toBe(1)
})
