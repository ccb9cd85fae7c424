/**
 * The worker of the two queues that Sluice is compared with:
 *
 *   node queue-worker.ts bare REDIS_URL CONCURRENCY
 *   node queue-worker.ts hand REDIS_URL CONCURRENCY UPSTREAM_URL
 *
 * `hand` is what its documentation leads to: BullMQ's own worker with the openai package, retries by BullMQ, the
 * answer as the job's return value. It has no limits, cache, coalescing, events, or record of what was paid.
 */
import { Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { OpenAI } from 'openai'
import type { ChatBody } from './bodies.ts'
import { serveParent } from './serve-parent.ts'

const [kind, redisUrl, concurrency, upstreamUrl] = process.argv.slice(2) as ['bare' | 'hand', ...string[]]
const connection = new Redis(redisUrl!, { maxRetriesPerRequest: null, connectionName: `${kind}-worker` })

// BullMQ retries; the client's own retries would repeat paid calls unseen.
const client = new OpenAI({ apiKey: 'none', baseURL: upstreamUrl ?? null, maxRetries: 0, timeout: 60_000 })

const worker = new Worker<ChatBody>(
  kind,
  kind === 'bare' ? async () => {} : (job) => client.chat.completions.create(job.data),
  { connection, concurrency: Number(concurrency) },
)

let done = 0
let waiting: { total: number; resolve: (at: number) => void } | null = null
worker.on('completed', () => {
  done++
  if (waiting?.total === done) waiting.resolve(Date.now())
})
worker.on('failed', (_job, error) => {
  console.error(error)
  process.exit(1)
})

serveParent({
  /** How many jobs are completed so far. */
  done: () => done,
  /** Answers when `total` jobs are completed since the start: the time of the last one, Unix ms. */
  completed(total: number) {
    const { promise, resolve } = Promise.withResolvers<number>()
    if (done >= total) resolve(Date.now())
    else waiting = { total, resolve }
    return promise
  },
})

await worker.waitUntilReady()
process.on('SIGTERM', () => process.exit())
console.log('ready')
