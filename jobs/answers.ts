import type { RedisClient } from '../lib/redis.ts'
import { isTerminal, type Job, type JobEvent, type JobStatus } from './job.ts'
import { answersChannel } from './keys.ts'
import type { Live } from './live.ts'
import { type JobRecord, type ResultRenderer, toEvent, toJob } from './record.ts'

/** Jobs that have not been heard of are looked at this often, ms: messages may be lost. */
const LOOK_MS = 5000

/** An end that nobody asked for is kept this long, ms. */
const KEPT_MS = 60_000

/** How a job ended, as a message said it; null: look yourself. */
type End = { job: Job; seq: number } | null

type Awaited = {
  key: string
  since: number
  /** The record as it was created; none until then. */
  record: JobRecord | null
  ended: PromiseWithResolvers<End>
  isOver: boolean
  /** Events that were told and not yet followed. */
  events: { seq: number; text: string }[]
  /** Calls whoever follows. */
  changed: () => void
}

/**
 * The ends of the jobs whose clients wait in this process, and what happens to those that are shown as they run. The scripts
 * send all of it to the one channel of the process, so that nobody reads it, and nobody subscribes for it.
 */
export type Answers = {
  /** Where it is to be sent. Resolves once that is heard. */
  open(): Promise<string>
  /** Announces a job; to be called before anything can happen to it. */
  expect(id: string, key: string): void
  /** Gives what the job as it ended will be put together from. */
  complete(id: string, record: JobRecord): void
  forget(id: string): void
  /** The expected job as it ended, or null for one that is to be looked at. Null: it was not expected. */
  find(id: string): Promise<Job | null> | null
  /**
   * The events of an expected job from the first, until it ends or the signal does; null: it was not expected.
   *
   * @param goOn reads the events after a cursor, where some were missed
   */
  follow(
    id: string,
    signal: AbortSignal,
    goOn: (cursor: string) => AsyncIterable<JobEvent>,
  ): AsyncGenerator<JobEvent> | null
  close(): void
}

export function createAnswers(deps: {
  redis: RedisClient
  live: Live
  prefix: string
  /** Of this process. */
  process: string
  render: ResultRenderer
  now: () => number
}): Answers {
  const { redis, live, now, render } = deps
  const channel = answersChannel(deps.prefix, deps.process)
  const awaited = new Map<string, Awaited>()
  let listening: Promise<() => void> | null = null

  function end(one: Awaited, how: End): void {
    one.isOver = true
    one.ended.resolve(how)
    one.changed()
  }

  function hear(message: Buffer): void {
    const id = message.toString('latin1', 0, lineEnd(message, 0))
    const one = awaited.get(id)
    if (id === '') {
      lookAll() // some may have been missed
    } else if (one && !one.isOver) {
      const { head, rest } = cut(message, 3)
      const [, kind, seq] = head
      if (kind === EVENT) {
        one.events.push({ seq: Number(seq), text: rest.toString() })
        one.changed()
      } else end(one, one.record && readEnd(id, message, one.record, render))
    }
  }

  async function look(one: Awaited): Promise<void> {
    const [status, deleted] = await redis.hmget(one.key, 'status', 'deleted')
    if (!status || deleted || isTerminal(status as JobStatus)) end(one, null)
  }

  function lookAll(): void {
    for (const one of awaited.values()) {
      if (one.isOver) continue
      if (one.events.length > 0) end(one, null)
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
        const told = one.events.shift()
        if (told) {
          if (told.seq > seen + 1) return yield* goOn(String(seen))
          if (told.seq === seen + 1) yield toEvent(id, ++seen, told.text, missing)
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
      listening ??= live.listenBytes(channel, hear)
      try {
        await listening
      } catch (error) {
        listening = null
        throw error
      }
      return channel
    },
    expect(id, key) {
      const ended = Promise.withResolvers<End>()
      awaited.set(id, {
        key,
        since: now(),
        record: null,
        ended,
        isOver: false,
        events: [],
        changed() {},
      })
    },
    complete(id, record) {
      const one = awaited.get(id)
      if (one) one.record = record
    },
    forget: (id) => awaited.delete(id),
    find: (id) => awaited.get(id)?.ended.promise.then((how) => how?.job ?? null) ?? null,
    follow(id, signal, goOn) {
      const one = awaited.get(id)
      return one ? follow(id, one, signal, goOn) : null
    },
    close: () => clearInterval(timer),
  }
}

function missing(): never {
  throw new Error('only the end of a job shows it whole')
}

function toEnd(job: Job, seq: number): JobEvent {
  const at = job.finished_at ?? job.created_at
  return {
    cursor: String(seq),
    event: `job.${job.status}` as JobEvent['event'],
    data: { job_id: job.id, seq, at, job },
  }
}

/** What the second line of a message says that is not of an end; see `emit` in common.lua. */
const EVENT = 'event'

/** Lines before the result in a message of `reply` in common.lua. */
const HEAD_LINES = 11

function lineEnd(message: Buffer, from: number): number {
  const to = message.indexOf(0x0a, from)
  return to < 0 ? message.length : to
}

/** The first lines of a message, and what follows them. */
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

/** How the job ended; null where the message leaves something out. */
function readEnd(id: string, message: Buffer, created: JobRecord, render: ResultRenderer): End {
  const { head, rest } = cut(message, HEAD_LINES)
  const [, status, seq, finishedAt, lane, startedAt, attempts, cache, usage, cost, error] = head
  if (!status || error === undefined) return null
  const record: JobRecord = new Map(created)
  const members = {
    status,
    finished_at: finishedAt,
    lane,
    started_at: startedAt,
    attempts,
    cache,
    usage,
    cost_usd: cost,
    error,
  }
  for (const [name, value] of Object.entries(members)) if (value) record.set(name, Buffer.from(value))
  if (rest.length > 0) record.set('result', rest)
  return { job: toJob(id, record, render), seq: Number(seq) }
}
