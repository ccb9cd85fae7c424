/**
 * The producer of the two queues that Sluice is compared with: `node queue-producer.ts bare|hand REDIS_URL`.
 * It adds in bulk, as many at a time as Sluice's own bulk route does.
 */
import { Queue, QueueEvents } from 'bullmq'
import { Redis } from 'ioredis'
import { CHAT_MODEL, chatBody } from './bodies.ts'
import { serveParent } from './serve-parent.ts'

const BATCH = 250

const [kind, url] = process.argv.slice(2) as ['bare' | 'hand', string]
const connect = () => new Redis(url, { maxRetriesPerRequest: null, connectionName: `${kind}-producer` })
const queue = new Queue(kind, { connection: connect() })

/** Results are kept for an hour, for clients that want to fetch them. */
const handOptions = {
  attempts: 6,
  backoff: { type: 'exponential', delay: 500 },
  removeOnComplete: { age: 3600 },
  removeOnFail: { age: 24 * 3600 },
}

function toEntry(number: number) {
  if (kind === 'bare') return { name: 'job', data: { number }, opts: { removeOnComplete: true } }
  return { name: 'chat', data: chatBody(CHAT_MODEL, number), opts: handOptions }
}

serveParent({
  /** Adds jobs; answers when the first was sent, Unix ms. */
  async add({ first, count }: { first: number; count: number }) {
    const entries = Array.from({ length: count }, (_, index) => toEntry(first + index))
    const startedAt = Date.now()
    for (let at = 0; at < count; at += BATCH) await queue.addBulk(entries.slice(at, at + BATCH))
    return { startedAt }
  },
  /** Adds one job after the other, each when the result of the one before has come; answers how long each took, ms. */
  async roundTrips({ first, count }: { first: number; count: number }) {
    const events = new QueueEvents(kind, { connection: connect() })
    await events.waitUntilReady()
    const times: number[] = []
    for (let number = first; number < first + count; number++) {
      const since = performance.now()
      const { name, data, opts } = toEntry(number)
      const job = await queue.add(name, data, opts)
      await job.waitUntilFinished(events)
      times.push(performance.now() - since)
    }
    await events.close()
    return times
  },
})

await queue.waitUntilReady()
process.on('SIGTERM', () => process.exit())
console.log('ready')
