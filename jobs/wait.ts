import type { RedisClient } from '../lib/redis.ts'
import { isTerminal, type Job } from './job.ts'
import { jobChannel } from './keys.ts'
import type { PubSub } from './pubsub.ts'
import type { Reader } from './read.ts'
import type { ReplyInbox } from './reply-inbox.ts'

/** Resolves with the job in its present state when it is terminal, the time is up, or the signal aborts. */
export async function waitForJob(
  deps: { redis: RedisClient; pubsub: PubSub; reader: Reader; replyInbox: ReplyInbox | null },
  root: string,
  id: string,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Job | null> {
  const { redis, pubsub, reader, replyInbox } = deps
  const awaited = replyInbox?.find(id, root)
  if (awaited) {
    const ended = await within(awaited, timeoutMs, signal)
    if (ended === undefined) return reader.one(root, id)
    replyInbox?.forget(id)
    if (ended) return ended
  }
  let job = await reader.one(root, id)
  if (!job || isTerminal(job.status) || timeoutMs <= 0) return job
  const over = AbortSignal.any([AbortSignal.timeout(Math.ceil(timeoutMs)), ...(signal ? [signal] : [])])
  const ended = Promise.withResolvers<void>()
  over.addEventListener('abort', () => ended.resolve())
  if (over.aborted) ended.resolve()
  const look = async () => {
    const status = await redis.hget(`${root}:job:${id}`, 'status')
    if (!status || isTerminal(status as Job['status'])) ended.resolve()
  }
  const leave = await pubsub.listen(jobChannel(root, id), () => {
    look().catch(() => {})
  })
  try {
    await look() // the job may have ended before the subscription was active
    await ended.promise
    job = await reader.one(root, id)
  } finally {
    leave()
  }
  return job
}

/** The longest time that timers can wait, ms. Longer ones would end at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The value of the promise if it comes in time and before the signal, else undefined. */
async function within<T>(promise: Promise<T>, ms: number, signal?: AbortSignal): Promise<T | undefined> {
  const over = Promise.withResolvers<undefined>()
  const end = () => over.resolve(undefined)
  const timer = setTimeout(end, Math.min(ms, LONGEST_TIMER_MS))
  signal?.addEventListener('abort', end)
  if (signal?.aborted) end()
  try {
    return await Promise.race([promise, over.promise])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', end)
  }
}
