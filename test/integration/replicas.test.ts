import { expect, onTestFinished, test } from 'vitest'
import type { EmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { isRedisUnavailable } from '../../lib/redis.ts'
import { acmeKey, chatJob, createTestApi, testTenants } from '../helpers/api.ts'
import { startTestRedis } from '../helpers/redis.ts'
import { until } from '../helpers/store.ts'

/** Seconds without a sign of a replica until the primary accepts no more writes; Redis knows only whole ones. */
const MAX_LAG = 1

async function startReplica(primary: EmbeddedRedis): Promise<EmbeddedRedis> {
  const replica = await startTestRedis({
    hasPassword: false,
    extraArgs: ['--replicaof', '127.0.0.1', String(primary.port)],
  })
  onTestFinished(() => replica.close())
  return replica
}

test('with min-replicas-to-write nothing is accepted that no replica has: 503 until one is back', async () => {
  const primary = await startTestRedis({
    hasPassword: false,
    extraArgs: [
      ...['--min-replicas-to-write', '1', '--min-replicas-max-lag', String(MAX_LAG)],
      ...['--repl-ping-replica-period', '1', '--repl-diskless-sync-delay', '0'],
    ],
  })
  onTestFinished(() => primary.close())
  const replica = await startReplica(primary)
  const api = await createTestApi({
    place: { url: primary.url, prefix: 'test' },
    tenants: testTenants,
  })
  onTestFinished(() => api.close())
  const create = (text: string) =>
    api.app.inject({
      method: 'POST',
      url: '/v1/jobs',
      headers: { authorization: `Bearer ${acmeKey}` },
      payload: chatJob({}, text),
    })
  await until(async () => (await create('first')).statusCode === 202, 10_000)
  const [running] = [await api.worker.next()]

  await replica.close()
  await until(async () => (await create('while it is gone')).statusCode !== 202, 10_000)
  const refused = await create('while it is gone')
  expect(refused.statusCode).toBe(503)
  expect(refused.json()).toMatchObject({ error: { code: 'unavailable' } })
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
  // Existing data can be read, and a result waits for the replica.
  const { id } = running.claimed
  const read = () =>
    api.app.inject({ url: `/v1/jobs/${id}`, headers: { authorization: `Bearer ${acmeKey}` } })
  expect((await read()).json()).toMatchObject({ status: 'running' })
  await expect(api.worker.complete(running)).rejects.toSatisfy(isRedisUnavailable)

  await startReplica(primary)
  await until(async () => (await create('when one is back')).statusCode === 202, 10_000)
  await api.worker.complete(running)
  expect((await read()).json()).toMatchObject({ status: 'completed' })
})
