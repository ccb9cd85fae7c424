import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, it, onTestFinished } from 'vitest'
import { createLiveConfig } from '../../config/watch.ts'
import { tenantRoot } from '../../jobs/keys.ts'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import { openWorker } from '../../services.ts'
import { parseTestConfig } from '../helpers/api.ts'
import { startTestRedis } from '../helpers/redis.ts'

const TENANTS = 1000
const LANES = 50
const WORKERS = 4
const DAY_MS = 86_400_000

/** Commands by name that Redis has run, including those of scripts. */
function readCommands(info: string): Map<string, number> {
  return new Map(
    [...info.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)].map(([, name, calls]) => [name!, Number(calls)]),
  )
}

it('1,000 tenants and 50 lanes without work cost four workers less than 500 commands a second', async () => {
  const server = await startTestRedis()
  onTestFinished(() => server.close())
  const redis = createRedis({ url: server.url, role: 'commands', name: 'test' })
  onTestFinished(() => closeRedis(redis))
  const spool = await mkdtemp(join(tmpdir(), 'idle-'))
  onTestFinished(() => rm(spool, { recursive: true, force: true }))
  const names = Array.from({ length: TENANTS }, (_, index) => `tenant-${index}`)
  const config = createLiveConfig(
    parseTestConfig({
      redis: { url: server.url, prefix: 'idle' },
      server: { host: '127.0.0.1', port: 0 },
      worker: { spool },
      tenants: Object.fromEntries(names.map((name) => [name, { keys: [`key-of-${name}-0123456789`] }])),
      redrive: [{ error_codes: ['provider_error'], after: '10s' }],
      routes: {},
      providers: {
        up: {
          kind: 'openai-compatible',
          base_url: 'http://127.0.0.1:9',
          api_key: 'a-key-for-tests',
          limits: { max_concurrency: 4 },
          models: Object.fromEntries(Array.from({ length: LANES }, (_, index) => [`model-${index}`, {}])),
        },
      },
    }),
  )
  // They had work once, and its remains have not expired yet.
  await Promise.all(
    names.map((name) => redis.zadd(`${tenantRoot('idle', name)}:expiry`, Date.now() + DAY_MS, 'job_1')),
  )
  const log = pino({ level: 'silent' })
  const workers = await Promise.all(
    Array.from({ length: WORKERS }, () => openWorker({ config, log, version: '0.0.0-test' })),
  )
  onTestFinished(async () => {
    await Promise.all(workers.map((worker) => worker.close()))
  })

  let shares = ''
  const countASecond = async (): Promise<number> => {
    const before = readCommands(await redis.info('commandstats'))
    const since = performance.now()
    await new Promise((resolve) => setTimeout(resolve, 2000))
    const after = readCommands(await redis.info('commandstats'))
    const seconds = (performance.now() - since) / 1000
    const counts = [...after].map(
      ([name, calls]) => [name, (calls - (before.get(name) ?? 0)) / seconds] as const,
    )
    shares = counts
      .filter(([, count]) => count >= 1)
      .sort(([, one], [, other]) => other - one)
      .map(([name, count]) => `${name} ${Math.round(count)}`)
      .join(', ')
    return Math.round(counts.reduce((sum, [, count]) => sum + count, 0))
  }
  // Lanes become idle within seconds of the start.
  let count = Number.POSITIVE_INFINITY
  for (let round = 0; round < 6 && count >= 500; round++) count = await countASecond()
  expect(count, shares).toBeLessThan(500)
}, 60_000)
