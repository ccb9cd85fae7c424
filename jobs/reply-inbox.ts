import type { RedisClient } from '../lib/redis.ts'
import type { AtRest } from './at-rest.ts'
import { isTerminal, type Job, type JobEvent, type JobStatus } from './job.ts'
import { answersChannel } from './keys.ts'
import type { PubSub } from './pubsub.ts'
import { type JobRecord, type ResultRenderer, toEvent, toJob, type View } from './record.ts'

/** How often jobs without a message are looked at, ms, because messages may be lost. */
const LOOK_MS = 5000

/** Longest time that a client waits for the subscription to its process' channel, ms. */
const OPEN_MS = 2500

/** How long an end is kept that no one has asked for, ms. */
const KEPT_MS = 60_000

/** How a job ended, from its message; null: the job has to be read. */
type End = { job: Job; seq: number } | null

type Awaited = {
  root: string
  key: string
  since: number
  /** The record as it was created; null before that. */
  record: JobRecord | null
  ended: PromiseWithResolvers<End>
  isOver: boolean
  /** A follower gets its events; there is only one for each job. */
  isFollowed: boolean
  /** Events that have arrived and that no one has taken yet. */
  events: { seq: number; text: string }[]
  /** Wakes the follower. */
  changed: () => void
}

/**
 * Receives the ends of jobs whose clients wait in this process, and the events of jobs that are shown live. The scripts
 * send both to a channel of the process, so that a job needs neither a read nor a subscription.
 */
export type ReplyInbox = {
  /** The channel to send to. Resolves when this process listens to it. */
  open(): Promise<string>
  /** Announces a job of a tenant, given by the tenant's root. Call it before anything can happen to the job. */
  expect(id: string, root: string): void
  /** Gives the record from which the ended job will be built. */
  complete(id: string, record: JobRecord): void
  forget(id: string): void
  /**
   * The ended job of a tenant; it resolves to null if you must read the job. Returns null for a job that was not
   * announced.
   */
  find(id: string, root: string): Promise<Job | null> | null
  /**
   * The events of an announced job of a tenant from the first, until it ends or the signal aborts; null: they are not
   * sent, or another follower gets them.
   *
   * @param goOn reads the events after a cursor, if some were missed
   */
  follow(
    id: string,
    root: string,
    signal: AbortSignal,
    goOn: (cursor: string) => AsyncIterable<JobEvent>,
  ): AsyncGenerator<JobEvent> | null
  close(): void
}

export function createReplyInbox(deps: {
  redis: RedisClient
  pubsub: PubSub
  prefix: string
  /** The name of this process. */
  process: string
  atRest: AtRest
  render: ResultRenderer
  now: () => number
}): ReplyInbox {
  const { redis, pubsub, now, atRest, render } = deps
  const channel = answersChannel(deps.prefix, deps.process)
  const awaited = new Map<string, Awaited>()
  let listening: Promise<() => void> | null = null
  let isListening = false

  const viewOf = ({ root }: Awaited): View => ({ root, atRest, render })

  function end(one: Awaited, how: End): void {
    one.isOver = true
    one.ended.resolve(how)
    one.changed()
  }

  function receive(message: Buffer): void {
    const id = message.toString('latin1', 0, lineEnd(message, 0))
    const one = awaited.get(id)
    if (id === '') {
      lookAll() // some may have been missed
    } else if (one?.isOver) {
      awaited.delete(id) // the job was retried or deleted
    } else if (one) {
      const { head, rest } = cut(message, 3)
      const [, kind, seq] = head
      if (kind === EVENT) {
        one.events.push({ seq: Number(seq), text: rest.toString() })
        one.changed()
      } else end(one, one.record && readEnd(id, message, one.record, viewOf(one)))
    }
  }

  async function look(one: Awaited): Promise<void> {
    const [status, deleted] = await redis.hmget(one.key, 'status', 'deleted')
    if (!status || deleted || isTerminal(status as JobStatus)) end(one, null)
  }

  function lookAll(): void {
    for (const [id, one] of awaited) {
      if (one.isOver) awaited.delete(id)
      else if (one.events.length > 0) end(one, null)
      else look(one).catch(() => {})
    }
  }

  const timer = setInterval(() => {
    const time = now()
    for (const [id, one] of awaited) {
      if (one.isOver && time - one.since > KEPT_MS) awaited.delete(id)
      else if (!one.isOver && time - one.since > LOOK_MS) look(one).catch(() => {})
    }
  }, LOOK_MS)
  timer.unref()

  async function* follow(
    id: string,
    one: Awaited,
    signal: AbortSignal,
    goOn: (cursor: string) => AsyncIterable<JobEvent>,
  ): AsyncGenerator<JobEvent> {
    let seen = 0
    const abort = () => one.changed()
    signal.addEventListener('abort', abort)
    try {
      while (!signal.aborted) {
        const next = one.events.shift()
        if (next) {
          if (next.seq > seen + 1) return yield* goOn(String(seen))
          if (next.seq === seen + 1) yield toEvent(id, ++seen, next.text, missing, viewOf(one))
        } else if (one.isOver) {
          const how = await one.ended.promise
          if (how === null || how.seq !== seen + 1) return yield* goOn(String(seen))
          return yield toEnd(how.job, how.seq)
        } else {
          await new Promise<void>((resolve) => {
            one.changed = resolve
          })
        }
      }
    } finally {
      signal.removeEventListener('abort', abort)
      awaited.delete(id)
    }
  }

  return {
    async open() {
      if (isListening) return channel
      listening ??= pubsub.listenBytes(channel, receive).then((leave) => {
        isListening = true
        return leave
      })
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<never>((_, reject) => {
        // This fails after the same time as a command, because a client waits, and the subscription waits for Redis
        // without a limit.
        timer = setTimeout(() => reject(new Error('Command timed out')), OPEN_MS)
      })
      listening.catch(() => {
        listening = null
      })
      try {
        await Promise.race([listening, late])
      } finally {
        clearTimeout(timer)
      }
      return channel
    },
    expect(id, root) {
      const ended = Promise.withResolvers<End>()
      awaited.set(id, {
        root,
        key: `${root}:job:${id}`,
        since: now(),
        record: null,
        ended,
        isOver: false,
        isFollowed: false,
        events: [],
        changed() {},
      })
    },
    complete(id, record) {
      const one = awaited.get(id)
      if (one) one.record = record
    },
    forget: (id) => awaited.delete(id),
    find(id, root) {
      const one = awaited.get(id)
      if (one?.root !== root) return null
      const { isOver } = one
      // A job that ended before this question may have been retried since, unless it is completed.
      return one.ended.promise.then((how) => {
        if (how === null || (isOver && how.job.status !== 'completed')) return null
        return how.job
      })
    },
    follow(id, root, signal, goOn) {
      const one = awaited.get(id)
      if (one?.root !== root || !one.record?.has('live') || one.isOver || one.isFollowed) return null
      one.isFollowed = true
      return follow(id, one, signal, goOn)
    },
    close: () => clearInterval(timer),
  }
}

function missing(): never {
  throw new Error('only an event that ends a job contains the job')
}

function toEnd(job: Job, seq: number): JobEvent {
  const at = job.finished_at ?? job.created_at
  return {
    cursor: String(seq),
    event: `job.${job.status}` as JobEvent['event'],
    data: { job_id: job.id, seq, at, job },
  }
}

/** The second line of a message about an event that is no end; see `emit` in common.lua. */
const EVENT = 'event'

/** How many lines come before the result in a message of `reply` in common.lua. */
const HEAD_LINES = 11

function lineEnd(message: Buffer, from: number): number {
  const to = message.indexOf(0x0a, from)
  return to < 0 ? message.length : to
}

/** The first lines of a message, and the rest. */
function cut(message: Buffer, lines: number): { head: string[]; rest: Buffer } {
  const head: string[] = []
  let from = 0
  while (head.length < lines && from <= message.length) {
    const to = lineEnd(message, from)
    head.push(message.toString('utf8', from, to))
    from = to + 1
  }
  return { head, rest: message.subarray(from) }
}

/** How the job ended; null if the message leaves something out. */
function readEnd(id: string, message: Buffer, created: JobRecord, view: View): End {
  const { head, rest } = cut(message, HEAD_LINES)
  const [, status, seq, finishedAt, lane, startedAt, attempts, cache, usage, cost, error] = head
  if (!status || error === undefined) return null
  const record: JobRecord = new Map(created)
  // A `~` after the cost marks an estimate.
  const isEstimate = cost?.endsWith('~') === true
  const members = {
    status,
    finished_at: finishedAt,
    lane,
    started_at: startedAt,
    attempts,
    cache,
    usage,
    cost_usd: isEstimate ? cost.slice(0, -1) : cost,
    cost_is_estimate: isEstimate ? '1' : '',
    error,
  }
  for (const [name, value] of Object.entries(members)) if (value) record.set(name, value)
  if (rest.length > 0) record.set('result', rest)
  return { job: toJob(id, record, view), seq: Number(seq) }
}
