import { expect, onTestFinished, test } from 'vitest'
import { createClient } from '../../client/index.ts'
import { type ReadEvent, readStream } from '../helpers/event-stream.ts'
import { startTestRedis } from '../helpers/redis.ts'
import { chat, createBulk, type Stack, startStack } from '../helpers/stack.ts'

const JOBS = 60

type Seen = { id: string; job: string; seq: number; event: string }

/**
 * Follows everything at one API process after the other, from the cursor where the one before broke off, until it is
 * stopped.
 */
async function followAll(stack: Stack, seen: Seen[], isOver: () => boolean): Promise<void> {
  for (let at = 0; !isOver(); at++) {
    const url = `${stack.urls[at % stack.urls.length]}/v1/events`
    const cursor = seen.at(-1)?.id
    const stream = await readStream(url, cursor === undefined ? {} : { cursor }).catch(() => null)
    if (stream === null || stream.response.status !== 200) {
      stream?.close()
      await new Promise((resolve) => setTimeout(resolve, 50))
      continue
    }
    try {
      for (let event = await stream.next(); event !== null; event = await stream.next()) {
        seen.push(toSeen(event))
        if (isOver()) break
      }
    } catch {
      // Its process was killed.
    }
    stream.close()
  }
}

const toSeen = ({ id, type, data }: ReadEvent): Seen => ({ id, job: data.job_id, seq: data.seq, event: type })

test('every event of a tenant comes once and in order while an API process, a worker and Redis are killed', async () => {
  const redis = await startTestRedis({ durable: true })
  onTestFinished(() => redis.close())
  const stack = await startStack({
    apis: 2,
    redis: { url: redis.url, prefix: 'sluice' },
    simulator: ['--latency', '100'],
    // Calls of the killed worker come back after 30 s: its jobs must not wait for them.
    limits: '{ max_concurrency: 100 }',
    extra: 'jobs: { stalled_after: 1s }',
  })
  onTestFinished(async () => {
    await stack.stop()
  })
  const [first, second] = stack.urls as [string, string]
  const seen: Seen[] = []
  const isWhole = (found: Seen[]) => found.filter(({ event }) => event === 'job.completed').length >= JOBS
  const following = followAll(stack, seen, () => isWhole(seen))
  // Through a socket of the client as well, which knows only one process.
  const socket = createClient({ url: second, retries: { firstWaitMs: 20, longestWaitMs: 200 } }).socket()
  onTestFinished(() => socket.close())
  const bySocket: Seen[] = []
  const socketIsDone = (async () => {
    for await (const { id, type, data } of socket.events({ all: true })) {
      bySocket.push({ id, job: String(data.job_id), seq: data.seq, event: type })
      if (isWhole(bySocket)) return
    }
  })()
  const reaches = (count: number) =>
    expect.poll(() => seen.length, { timeout: 20_000, interval: 20 }).toBeGreaterThan(count)

  const ids: string[] = []
  const submit = async (url: string) => {
    const jobs = Array.from({ length: 20 }, (_, at) => chat(`event ${ids.length + at}`, { group: 'killed' }))
    ids.push(...(await createBulk(url, jobs)))
  }

  await submit(first)
  await reaches(30)
  stack.apis[0]!.kill('SIGKILL')
  await submit(second)
  await reaches(90)
  stack.workers[0]!.kill('SIGKILL')
  await stack.startWorker()
  await submit(second)
  await reaches(130)
  process.kill(redis.pid!, 'SIGKILL')
  await following
  await socketIsDone

  expect(ids).toHaveLength(JOBS)
  for (const found of [seen, bySocket]) {
    expect(new Set(found.map(({ id }) => id)).size).toBe(found.length)
    expect(new Set(found.map(({ job }) => job))).toEqual(new Set(ids))
    for (const [, events] of Map.groupBy(found, ({ job }) => job)) {
      expect(events.map(({ seq }) => seq)).toEqual(events.map((_, at) => at + 1))
      expect(events.at(-1)!.event).toBe('job.completed')
    }
  }
  const replay = await readStream(`${second}/v1/events`)
  onTestFinished(() => replay.close())
  expect((await replay.take(seen.length)).map(toSeen)).toEqual(seen)
  expect(bySocket).toEqual(seen)
}, 60_000)
