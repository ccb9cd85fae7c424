import { setTimeout as sleep } from 'node:timers/promises'
import { readEvents } from './event-socket.ts'

/** One event of a tenant, as a follower received it. */
type Heard = {
  cursor: string
  /** `<id of the job or flow> <seq> <name>`. */
  what: string
  subject: string
  seq: number
}

/** Follows everything that happens to a tenant, over as many connections as that takes. */
export type EventFollower = {
  how: string
  heard: readonly Heard[]
  /** How often its connection broke. */
  breaks: number
  /** Answers that no follower should get: its cursor is refused, or a message is invalid. */
  complaints: string[]
  /** Resolves when it has left. */
  leave(): Promise<void>
}

const PAUSE_MS = 100
/** Errors that pass. */
const FOR_NOW = ['unavailable', 'rate_limited']

/** By `GET /v1/events`: after a break it connects to another process, with the last cursor that it has. */
export function followBySse(urls: () => string[]): EventFollower {
  return follow('SSE', urls, (url, after, take, complain, signal) => {
    let text = ''
    return readEvents({
      url: `${url}/v1/events`,
      headers: after === '' ? {} : { 'last-event-id': after },
      signal,
      onStatus(status) {
        if (status !== 200 && status !== 503) complain(`answered ${status}`)
      },
      onText(part) {
        text += part
        const events = text.split('\n\n')
        text = events.pop()!
        for (const event of events) {
          const id = /^id: (.*)$/m.exec(event)?.[1]
          const name = /^event: (.*)$/m.exec(event)?.[1]
          const data = /^data: (.*)$/m.exec(event)?.[1]
          if (id !== undefined && name !== undefined && data !== undefined) take(id, name, JSON.parse(data))
        }
      },
    })
  })
}

/** By `GET /v1/ws`, in the same way. */
export function followBySocket(urls: () => string[]): EventFollower {
  return follow('WebSocket', urls, (url, after, take, complain, signal) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/ws`)
    const leave = () => socket.close()
    signal.addEventListener('abort', leave)
    socket.onopen = () =>
      socket.send(JSON.stringify({ type: 'subscribe', id: 'all', all: true, ...(after !== '' && { after }) }))
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(String(data))
      if (message.type === 'event') return take(message.cursor, message.event, message.data)
      if (message.type === 'error' && !FOR_NOW.includes(message.error.code))
        complain(`was told ${message.error.code}`)
      socket.close()
    }
    socket.onclose = () => {
      signal.removeEventListener('abort', leave)
      resolve()
    }
    socket.onerror = () => resolve()
    return promise
  })
}

type Take = (cursor: string, event: string, data: { job_id?: string; flow_id?: string; seq: number }) => void
type Connect = (
  url: string,
  after: string,
  take: Take,
  complain: (what: string) => void,
  signal: AbortSignal,
) => Promise<void>

function follow(how: string, urls: () => string[], connect: Connect): EventFollower {
  const leaving = new AbortController()
  const heard: Heard[] = []
  const complaints: string[] = []
  const follower: EventFollower = { how, heard, complaints, breaks: 0, leave }
  const take: Take = (cursor, event, { job_id, flow_id, seq }) => {
    // Events of steps also name their job.
    const subject = flow_id ?? job_id
    if (subject === undefined) return
    heard.push({ cursor, subject, seq, what: `${subject} ${seq} ${event}` })
  }
  const running = run()

  async function run(): Promise<void> {
    let turn = 0
    while (!leaving.signal.aborted) {
      const alive = urls()
      const url = alive[turn++ % alive.length]
      const after = heard.at(-1)?.cursor ?? ''
      const complain = (what: string) => void complaints.push(`${how} behind "${after}" ${what}`)
      // An answer that is cut off is a break as well.
      if (url !== undefined) await connect(url, after, take, complain, leaving.signal).catch(() => {})
      follower.breaks++
      if (!leaving.signal.aborted) await sleep(PAUSE_MS)
    }
  }

  async function leave(): Promise<void> {
    leaving.abort()
    await running
  }

  return follower
}

/**
 * What does not hold: each event comes once, those of a job or a flow without a gap, and all followers get the same
 * events in one order.
 */
export function judgeFollowers(followers: readonly EventFollower[]): string[] {
  const broken = followers.flatMap(({ complaints }) => complaints)
  for (const { how, heard } of followers) {
    const gaps: string[] = []
    const repeated = heard.length - new Set(heard.map(({ cursor }) => cursor)).size
    if (repeated > 0) broken.push(`${how}: ${repeated} cursors came twice`)
    const next = new Map<string, number>()
    for (const { subject, seq, what } of heard) {
      const expected = next.get(subject) ?? 1
      if (seq !== expected) gaps.push(`"${what}" came, not the event ${expected}`)
      next.set(subject, seq + 1)
    }
    if (gaps.length > 0) broken.push(`${how}: ${gaps.length} gaps, such as ${gaps.slice(0, 3).join('; ')}`)
  }
  const [first, ...others] = followers
  for (const other of others) {
    const most = Math.max(first!.heard.length, other.heard.length)
    const at = Array.from({ length: most }, (_, index) => index).find(
      (index) =>
        first!.heard[index]?.what !== other.heard[index]?.what ||
        first!.heard[index]?.cursor !== other.heard[index]?.cursor,
    )
    if (at !== undefined)
      broken.push(
        `event ${at} is ${describe(first!.heard[at])} by ${first!.how} and ${describe(other.heard[at])} by ${other.how}`,
      )
  }
  return broken
}

function describe(heard: Heard | undefined): string {
  return heard === undefined ? 'missing' : `"${heard.what}" at ${heard.cursor}`
}
