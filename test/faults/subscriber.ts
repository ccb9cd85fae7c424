import { setTimeout as sleep } from 'node:timers/promises'
import { readEvents } from './event-socket.ts'

/** Reads an event stream to its end, over as many connections as that takes. */
export type Subscriber = {
  /** Resolves at the end of the stream, or when it was stopped. */
  done: Promise<void>
  leave(): void
  /** Numbers of the events of each job, in the order of arrival. */
  seen: Map<string, number[]>
  /** Jobs whose last event has come. */
  ended: Set<string>
  /** From each break of the connection to the next one that served, ms. */
  resumedMs: number[]
  /** The base URL of the process that serves it now; null: none does. */
  servedBy: string | null
}

const LAST = ['job.completed', 'job.failed', 'job.cancelled']
const PAUSE_MS = 100

export type SubscribeOptions = {
  /** Base URLs of the API processes that run. */
  urls: () => string[]
  /** The path of the events of a job, or of a group. */
  path: string
  random: () => number
  /** Whether 204 means the end; a group may still get jobs. Default: true. */
  finished?: () => boolean
  /** Where to connect first; default: anywhere. */
  first?: string
}

/**
 * Follows a stream as a browser does: after a break it connects again, to another process than before if there is
 * one, and sends its last id.
 */
export function subscribe(options: SubscribeOptions): Subscriber {
  const { urls, path, random, finished = () => true } = options
  const leaving = new AbortController()
  const subscriber: Subscriber = {
    done: Promise.resolve(),
    leave: () => leaving.abort(),
    seen: new Map(),
    ended: new Set(),
    resumedMs: [],
    servedBy: null,
  }
  let lastId = ''
  let brokenAt: number | null = null
  let last = ''

  function choose(): string {
    if (last === '' && options.first !== undefined) {
      last = options.first
      return last
    }
    const alive = urls()
    const others = alive.filter((url) => url !== last)
    const candidates = others.length > 0 ? others : alive
    last = candidates[Math.floor(random() * candidates.length)] ?? ''
    return last
  }

  function take(text: string): void {
    const id = /^id: (.*)$/m.exec(text)?.[1]
    const data = /^data: (.*)$/m.exec(text)?.[1]
    if (id === undefined || data === undefined) return
    const { job_id, seq } = JSON.parse(data) as { job_id: string; seq: number }
    lastId = id
    const seen = subscriber.seen.get(job_id) ?? []
    seen.push(seq)
    subscriber.seen.set(job_id, seen)
    if (LAST.some((name) => text.includes(`event: ${name}\n`))) subscriber.ended.add(job_id)
  }

  /** Reads over one connection; true if the server says that there is no more. */
  async function read(): Promise<boolean> {
    const url = choose()
    let status = 0
    let text = ''
    try {
      await readEvents({
        url: `${url}${path}`,
        headers: lastId === '' ? {} : { 'last-event-id': lastId },
        signal: leaving.signal,
        onStatus(code) {
          status = code
          if (code !== 200 && code !== 204) return
          subscriber.servedBy = url
          if (brokenAt !== null) subscriber.resumedMs.push(performance.now() - brokenAt)
          brokenAt = null
        },
        onText(part) {
          text += part
          const events = text.split('\n\n')
          text = events.pop()!
          for (const event of events) take(event)
        },
      })
    } finally {
      subscriber.servedBy = null
    }
    if (status === 204) return finished()
    if (status !== 200) throw new Error(`answered ${status}`)
    return false
  }

  async function run(): Promise<void> {
    while (!leaving.signal.aborted) {
      try {
        if (await read()) return
      } catch {
        brokenAt ??= performance.now()
      }
      await sleep(PAUSE_MS)
    }
  }

  subscriber.done = run()
  return subscriber
}

/** Events that are missing before others, and events that came twice or late. */
export function findFlaws({ seen }: Pick<Subscriber, 'seen'>): { gaps: number; repeats: number } {
  let gaps = 0
  let repeats = 0
  for (const numbers of seen.values()) {
    let expected = 1
    for (const number of numbers) {
      if (number > expected) gaps += number - expected
      if (number < expected) repeats++
      expected = Math.max(expected, number + 1)
    }
  }
  return { gaps, repeats }
}
