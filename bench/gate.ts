/**
 * How many single takes a second one Redis connection carries, pipelined: `node bench/gate.ts [SECONDS]`.
 * Uses `REDIS_URL` (keys under `bench:`), else starts a Redis of its own.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Lane, LaneLimits } from '../config/lanes.ts'
import { startEmbeddedRedis } from '../embedded-redis/embedded-redis.ts'
import { createGate } from '../ratelimit/create-gate.ts'
import type { Cost, Gate } from '../ratelimit/gate.ts'

const IN_FLIGHT = 64
const COST: Cost = { requests: 1, tokens: 1000, inputTokens: 800, outputTokens: 200 }
/** Never reached: every take is granted and books everything. */
const WIDE: LaneLimits = {
  requests_per_minute: 100_000_000,
  tokens_per_minute: 100_000_000_000,
  input_tokens_per_minute: 100_000_000_000,
  output_tokens_per_minute: 100_000_000_000,
  requests_per_day: 1_000_000_000,
  max_concurrency: 1_000_000,
  window: 60_000,
  headroom: 0.99,
}

const seconds = Number(process.argv[2] ?? 5)
const { redis, close } = await openRedis()
try {
  const gate = createGate({ redis, prefix: 'bench' })
  await report('granted, all dimensions', WIDE, async (lane) => {
    await gate.take(lane, [{ cost: COST }])
  })
  await report('granted, counted by the second', { ...WIDE, window: 1000 }, async (lane) => {
    await gate.take(lane, [{ cost: COST }])
  })
  await report('refused', { ...WIDE, requests_per_minute: 60 }, async (lane) => {
    await gate.take(lane, [{ cost: COST }])
  })
  await report('granted and settled with a refund (2 calls)', WIDE, takeAndSettle(gate))
  const shared = [{ name: 'family', limits: WIDE }]
  await report('granted, with a shared limit', WIDE, async (lane) => {
    await gate.take({ ...lane, shared }, [{ cost: COST }])
  })
  const eight = Array.from({ length: 8 }, () => ({ cost: COST }))
  await report('granted, 8 in a call', WIDE, async (lane) => {
    await gate.take(lane, eight)
  })
} finally {
  await close()
}

function takeAndSettle(gate: Gate) {
  return async (lane: Lane) => {
    const { permits } = await gate.take(lane, [{ cost: COST }])
    await gate.settle(
      lane,
      permits.map((permit) => ({ permit, actual: { ...COST, tokens: 900, outputTokens: 100 } })),
    )
  }
}

/** Runs `work` on a fresh lane, so many at once, and prints what was done in a second. */
async function report(title: string, limits: LaneLimits, work: (lane: Lane) => Promise<void>): Promise<void> {
  const lane: Lane = {
    id: `bench/${title.replaceAll(' ', '-')}`,
    provider: 'bench',
    model: title,
    kind: 'openai-compatible',
    onUnsupported: 'refuse',
    limits,
    timeout: 60_000,
    retry: { max_attempts: 1, base: 1, cap: 1 },
    price: { input: 0, output: 0 },
    coalesce: null,
  }
  await work(lane)
  const start = performance.now()
  const end = start + seconds * 1000
  let done = 0
  const loop = async () => {
    while (performance.now() < end) {
      await work(lane)
      done++
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, loop))
  const rate = Math.round((done / (performance.now() - start)) * 1000)
  console.log(`${title.padEnd(45)} ${rate.toLocaleString('en').padStart(8)} /s`)
}

async function openRedis(): Promise<{ redis: Redis; close(): Promise<void> }> {
  if (process.env.REDIS_URL) {
    const redis = new Redis(process.env.REDIS_URL)
    return {
      redis,
      async close() {
        const keys = await redis.keys('bench:{g:bench}:*')
        if (keys.length > 0) await redis.del(...keys)
        redis.disconnect()
      },
    }
  }
  const directory = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const server = await startEmbeddedRedis({ directory, extraArgs: ['--appendonly', 'no'] })
  const redis = new Redis(server.url)
  return {
    redis,
    async close() {
      redis.disconnect()
      await server.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
