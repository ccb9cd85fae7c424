import { setTimeout as sleep } from 'node:timers/promises'
import { hashPrompt } from '../../simulator/answers.ts'
import { submit } from './client.ts'

/** A job as its client knows it. */
export type Sent = {
  key: string
  body: string
  /** The hash of the prompt, as the simulator's bill names it. */
  hash: string
  /** The mark that `mark` chose for it. */
  mark: string
  /** Null until it was accepted. */
  id: string | null
}

export type LoadOptions = {
  /** Base URLs of the API processes that run. */
  urls: () => string[]
  random: () => number
  group: string
  /** 0: only jobs that are added. */
  perSecond: number
  /** Chooses the marker in the next job's prompt by which the simulator answers with a fault; default: ''. */
  mark?: (streams: boolean) => string
  /** More members of every job. */
  members?: Record<string, unknown>
  /** The tenant of the stage that owns these jobs; none on a stage without tenants. */
  tenant?: string
}

export type Load = {
  sent: Sent[]
  /** The tenant of these jobs. */
  tenant: string | undefined
  /** How often each status was answered; 0: no answer. */
  answers: Map<number, number>
  /** Of answers that came, ms. */
  slowestMs: number
  /** Sends `count` more, spread over this time; resolves when the last has left. */
  rush(count: number, ms: number): Promise<void>
  /** Sends one more, with a mark and members of its own. */
  add(options: { mark: string; streams?: boolean; members?: Record<string, unknown> }): Sent
  /** Stops sending; resolves when each job is accepted, or was tried for a minute and a half. */
  stop(): Promise<void>
}

/** How long a client keeps trying. */
const PATIENCE_MS = 90_000
const PAUSE_MS = 200

/**
 * Clients that submit chat jobs at a steady rate, to any running API process. Each job has an idempotency key and is
 * repeated until it is accepted. No two prompts are equal. A third of the jobs stream. Half of them use neither cache
 * nor single flight, so that a job that was created twice would be called twice.
 */
export function startLoad(options: LoadOptions): Load {
  const { group, perSecond } = options
  const pending = new Set<Promise<void>>()
  const load: Load = {
    sent: [],
    tenant: options.tenant,
    answers: new Map(),
    slowestMs: 0,
    async rush(count, ms) {
      for (let one = 0; one < count; one++) {
        send()
        await sleep(ms / count)
      }
    },
    add: send,
    async stop() {
      clearInterval(timer)
      await Promise.all(pending)
    },
  }

  function send(own: { mark?: string; streams?: boolean; members?: Record<string, unknown> } = {}): Sent {
    const number = load.sent.length
    const streams = own.streams ?? isStream(number)
    const mark = own.mark ?? options.mark?.(streams) ?? ''
    const job = composeJob({ group, number, mark, streams, members: { ...options.members, ...own.members } })
    load.sent.push(job)
    const sending = deliver(job, options, load).finally(() => pending.delete(sending))
    pending.add(sending)
    return job
  }

  const timer = perSecond === 0 ? undefined : setInterval(() => send(), 1000 / perSecond)

  return load
}

/** A chat job unlike any other; see `startLoad`. */
export function composeJob(options: {
  group: string
  number: number
  mark?: string
  /** Default: one in three does. */
  streams?: boolean
  /** Of the provider `sim`; default: `chat`. */
  model?: string
  members?: Record<string, unknown>
}): Sent {
  const { group, number, mark = '', streams = isStream(number), model = 'chat', members } = options
  const messages = [{ role: 'user', content: `${group} ${number} ${mark}` }]
  const job = {
    type: 'chat',
    group,
    cache: number % 2 === 0 ? 'off' : 'use',
    body: { model: `sim/${model}`, messages, ...(streams ? { stream: true } : {}) },
    ...members,
  }
  return {
    key: `${group}-${number}`,
    body: JSON.stringify(job),
    hash: hashPrompt('chat', model, { messages }),
    mark,
    id: null,
  }
}

function isStream(number: number): boolean {
  return number % 3 === 0
}

/** Sends a job until it is accepted, for at most a minute and a half, and counts the answers. */
export async function deliver(
  job: Sent,
  { urls, random, tenant }: Pick<LoadOptions, 'urls' | 'random' | 'tenant'>,
  counts: Pick<Load, 'answers' | 'slowestMs'>,
): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (performance.now() < deadline) {
    const alive = urls()
    const url = alive[Math.floor(random() * alive.length)]
    const answer = url === undefined ? null : await submit(url, job.body, job.key, tenant)
    if (answer) {
      counts.answers.set(answer.status, (counts.answers.get(answer.status) ?? 0) + 1)
      if (answer.status !== 0) counts.slowestMs = Math.max(counts.slowestMs, answer.ms)
      if (answer.status === 200 || answer.status === 202) {
        job.id = answer.id
        return
      }
    }
    await sleep(Math.max(answer?.retryAfterMs ?? 0, PAUSE_MS * (0.5 + random())))
  }
}
