import type { RedisClient } from '../lib/redis.ts'
import { createJobEvents, type MovedEvents } from './event-source.ts'
import { isTerminal, type JobEvent, type JobStatus } from './job.ts'
import type { Following } from './jobs.ts'
import { groupChannel, groupKey, jobChannel } from './keys.ts'
import type { PubSub } from './pubsub.ts'
import type { Reader } from './read.ts'
import { isTerminalEvent, toEvent } from './record.ts'

/** Events read in one round trip. */
const PAGE = 500

/** Events of a group that are resolved at once. */
const RESOLVED = 50

type Deps = { redis: RedisClient; pubsub: PubSub; reader: Reader }

/** Waits for hints on a channel, and loses none that comes between two waits. */
export async function listenTo(pubsub: PubSub, channel: string, signal: AbortSignal) {
  let hinted = true
  let resume: (() => void) | null = null
  const wake = () => {
    hinted = true
    resume?.()
  }
  const leave = await pubsub.listen(channel, wake)
  signal.addEventListener('abort', wake)
  return {
    /** Resolves at the next hint, or at once if one came since the last call. */
    async next(): Promise<void> {
      if (!hinted && !signal.aborted) await new Promise<void>((resolve) => (resume = resolve))
      resume = null
      hinted = false
    },
    leave() {
      signal.removeEventListener('abort', wake)
      leave()
    },
  }
}

/** Follows one job's events; see Jobs.follow. */
export async function followJob(
  deps: Deps,
  root: string,
  id: string,
  cursor: string,
  signal: AbortSignal,
): Promise<Following | null> {
  const { redis, pubsub, reader } = deps
  const key = `${root}:job:${id}`
  const [status, deleted] = await redis.hmget(key, 'status', 'deleted')
  if (!status || deleted) return null
  const known = await redis.llen(`${key}:events`)
  const seen = Math.min(known, Math.max(0, Number.parseInt(cursor, 10) || 0))
  if (isTerminal(status as JobStatus) && seen === known) {
    return { finished: true, events: nothing() }
  }

  async function* read(): AsyncGenerator<JobEvent> {
    const hints = await listenTo(pubsub, jobChannel(root, id), signal)
    let seq = seen
    let ended = false
    try {
      while (!signal.aborted) {
        await hints.next()
        let page: string[]
        do {
          if (signal.aborted) return
          page = await redis.lrange(`${key}:events`, seq, seq + PAGE - 1)
          const events = await renderPage(page, seq)
          for (const event of events) {
            yield event
            seq = event.data.seq
          }
          if (events.length > 0) ended = isTerminalEvent(events.at(-1)!.event)
        } while (page.length === PAGE)
        // If events follow a terminal event, a retry overtook it, and the job continues.
        if (ended) return
        if (page.length === 0 && !(await isKept())) return
      }
    } finally {
      hints.leave()
    }
  }

  async function isKept(): Promise<boolean> {
    const [status, deleted] = await redis.hmget(key, 'status', 'deleted')
    return status !== null && deleted === null
  }

  async function renderPage(page: string[], after: number): Promise<JobEvent[]> {
    const needsJob = page.some((text) => isTerminalEvent(JSON.parse(text).event))
    const job = needsJob ? await reader.one(root, id) : null
    if (needsJob && !job) return []
    return page.map((text, index) => toEvent(id, after + index + 1, text, () => job!, reader.view(root)))
  }

  return { finished: false, events: read() }
}

/**
 * Follows the events of all jobs of a group; see Jobs.followGroup. A cursor is the id of an entry in the group's
 * stream.
 */
export async function followGroup(
  deps: Deps & { movedEvents: MovedEvents | null },
  root: string,
  group: string,
  cursor: string,
  signal: AbortSignal,
): Promise<Following | null> {
  const { redis, pubsub } = deps
  const source = createJobEvents(deps)
  const key = groupKey(root, group)
  const open = async () => {
    const counts = await redis.hmget(key, 'scheduled', 'queued', 'running')
    return counts.reduce((sum, count) => sum + Number(count ?? 0), 0)
  }
  if (!(await redis.exists(key))) return null
  const seen = /^\d{1,19}(-\d{1,19})?$/.test(cursor) ? cursor : '0'
  if (
    (await open()) === 0 &&
    (await redis.xrange(`${key}:events`, `(${seen}`, '+', 'COUNT', 1)).length === 0
  ) {
    return { finished: true, events: nothing() }
  }

  async function* read(): AsyncGenerator<JobEvent> {
    const hints = await listenTo(pubsub, groupChannel(root, group), signal)
    let last = seen
    try {
      while (!signal.aborted) {
        await hints.next()
        for (;;) {
          if (signal.aborted) return
          const entries = await redis.xrange(`${key}:events`, `(${last}`, '+', 'COUNT', PAGE)
          if (entries.length === 0) break
          for (let at = 0; at < entries.length; at += RESOLVED) {
            const events = await resolve(entries.slice(at, at + RESOLVED))
            for (const event of events) if (event) yield event
            if (signal.aborted) return
          }
          last = entries.at(-1)![0]
        }
        if (
          (await open()) === 0 &&
          (await redis.xrange(`${key}:events`, `(${last}`, '+', 'COUNT', 1)).length === 0
        )
          return
      }
    } finally {
      hints.leave()
    }
  }

  async function resolve(entries: [string, string[]][]): Promise<(JobEvent | null)[]> {
    const references = entries.map(([, fields]) => ({ id: fields[1]!, seq: Number(fields[3]), event: '' }))
    const events = await source.resolve(root, references, {})
    return events.map((event, index) => event && { ...event, cursor: entries[index]![0] })
  }

  return { finished: false, events: read() }
}

async function* nothing(): AsyncGenerator<JobEvent> {}
