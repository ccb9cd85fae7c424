import type { RedisClient } from '../lib/redis.ts'

/** How many calls' latencies a lane remembers. */
const KEPT = 256

/** How often collected latencies are written, ms. */
const FLUSH_MS = 1000

/** The latencies of the last calls of each lane, over all processes. */
export type Latencies = {
  /** Written within a second. A process that dies loses at most a second of them. */
  record(lane: string, latencyMs: number): void
  read(lane: string): Promise<{ p50: number | null; p95: number | null }>
  close(): Promise<void>
}

export function createLatencies({ redis, prefix }: { redis: RedisClient; prefix: string }): Latencies {
  const key = (lane: string) => `${prefix}:{l:${lane}}:latencies`
  const gathered = new Map<string, number[]>()
  let timer: NodeJS.Timeout | null = null

  async function flush(): Promise<void> {
    timer = null
    const batches = [...gathered]
    gathered.clear()
    for (const [lane, values] of batches) {
      await Promise.all([redis.lpush(key(lane), ...values), redis.ltrim(key(lane), 0, KEPT - 1)])
    }
  }

  return {
    record(lane, latencyMs) {
      const values = gathered.get(lane)
      if (!values) gathered.set(lane, [Math.round(latencyMs)])
      else if (values.length < KEPT) values.push(Math.round(latencyMs))
      timer ??= setTimeout(() => flush().catch(() => {}), FLUSH_MS)
    },
    async read(lane) {
      const values = (await redis.lrange(key(lane), 0, -1)).map(Number).sort((a, b) => a - b)
      const quantile = (share: number) =>
        values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? null
      return { p50: quantile(0.5), p95: quantile(0.95) }
    },
    async close() {
      if (timer) clearTimeout(timer)
      await flush().catch(() => {})
    },
  }
}
