import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Held } from '../jobs/queue-entry.ts'
import type { RedisTarget } from '../lib/redis.ts'
import { type Holding, lockHolding, permitHolding, placeHolding } from './holdings.ts'
import type { HeldLimits, HoldingsChange, Renewal } from './renewal.ts'

/** The main loop gives a sign of life this often, ms. */
const SIGN_MS = 1000

/** Memory for the thread's young objects, which are few, MiB. V8's default took 7 MiB more. */
const YOUNG_MB = 4

/** After this a thread that died is started again, ms. */
const RELAUNCH_MS = 1000

/** It has the ending of this file: `.ts` from the sources, `.js` where both are compiled. */
const threadUrl = new URL(`./heartbeat-thread${extname(import.meta.filename)}`, import.meta.url)

/** Keeps alive in the store what this process holds there: locks, places, permits. */
export type Heartbeat = {
  hold(held: Held, lane: string): void
  drop(held: Held, lane: string): void
  holdPermit(lane: string, permit: string): void
  dropPermit(lane: string, permit: string): void
  stop(): Promise<void>
}

/** The start parameters of a thread. Durations in ms. */
export type HeartbeatThread = {
  redis: RedisTarget
  prefix: string
  lockMs: number
  placeMs: number
  renewMs: number
  /** A main loop that is silent for longer counts as hung, and its jobs are released. */
  hungMs: number
}

/** The same with the memory that the thread shares with the main loop; see `Holdings`. */
export type HeartbeatThreadData = HeartbeatThread & { memory: SharedArrayBuffer }

/** What the heartbeat thread reports. */
export type FromThread = { kind: 'renewed' | 'gave_up' | 'resumed' } | { kind: 'failed'; error: ThreadError }

/** An error on its way between threads, where errors lose their names and codes. */
export type ThreadError = { name: string; message: string; code?: string | number }

/**
 * How often to renew, ms: three times in the life of a lock, so that two renewals may fail before it is lost. Permits
 * are renewed as often.
 */
export function renewInterval(lockMs: number): number {
  return Math.min(10_000, Math.max(100, Math.round(lockMs / 3)))
}

/**
 * Renews on a thread and a connection of its own. So a main loop that is blocked for a minute keeps its jobs, and no
 * other worker makes their calls again. While the thread is missing or has not renewed lately, the main loop renews.
 */
export function startHeartbeat(deps: {
  /** Renews over the connection of this process while no thread does it. */
  renewal: Renewal
  renewMs: number
  /** The current limits of a lane; null: it is not configured any more. */
  limitsOf: (lane: string) => HeldLimits | null
  /** Null: the main loop renews. */
  thread: HeartbeatThread | null
  onError: (error: unknown, what: string) => void
}): Heartbeat {
  const { renewal, renewMs, thread: settings, onError } = deps
  const limits = new Map<string, string>()
  /** The slot of each holding; null: it has none, and the thread got a message instead. */
  const slots = new Map<Held | string, number | null>()
  let thread: Worker | null = null
  let renewedAt = Number.NEGATIVE_INFINITY
  let relaunch: NodeJS.Timeout | undefined
  let stopped = false

  function launch(data: HeartbeatThread): void {
    const started = new Worker(threadUrl, {
      workerData: { ...data, memory: renewal.holdings.memory } satisfies HeartbeatThreadData,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    })
    thread = started
    started.unref()
    started.on('message', (message: FromThread) => {
      if (message.kind === 'renewed') renewedAt = performance.now()
      else if (message.kind === 'failed')
        onError(Object.assign(new Error(message.error.message), message.error), 'renewing leases')
      else if (message.kind === 'gave_up')
        onError(new Error(`the main loop was silent for over ${data.hungMs} ms`), 'holding jobs')
    })
    started.on('error', (error) => onError(error, 'the heartbeat thread'))
    started.on('exit', () => {
      if (thread === started) thread = null
      renewedAt = Number.NEGATIVE_INFINITY
      if (stopped) return
      renewHere()
      relaunch = setTimeout(() => launch(data), RELAUNCH_MS)
      relaunch.unref()
    })
    started.postMessage(renewal.snapshot())
  }

  function tell(change: Partial<HoldingsChange>): void {
    const whole = { held: [], dropped: [], limits: [], ...change }
    renewal.apply(whole)
    thread?.postMessage(whole)
  }

  function hold(key: Held | string, one: Holding): void {
    if (slots.has(key)) return
    const slot = renewal.holdings.add(one)
    slots.set(key, slot)
    if (slot === null) tell({ held: [one] })
  }

  function drop(key: Held | string, describe: () => Holding): void {
    const slot = slots.get(key)
    if (slot === undefined) return
    slots.delete(key)
    if (slot === null) tell({ dropped: [describe()] })
    else renewal.holdings.remove(slot)
  }

  /** The limits of a lane, if they changed since the last message. */
  function readLimits(lane: string): [string, HeldLimits][] {
    const now = deps.limitsOf(lane)
    const text = JSON.stringify(now)
    if (now === null || limits.get(lane) === text) return []
    limits.set(lane, text)
    return [[lane, now]]
  }

  function renewHere(): void {
    renewal.renew().catch((error) => onError(error, 'renewing leases'))
  }

  const signs = setInterval(() => tell({ limits: [...limits.keys()].flatMap(readLimits) }), SIGN_MS)
  const fallback = setInterval(() => {
    if (performance.now() - renewedAt > 1.5 * renewMs) renewHere()
  }, renewMs)
  if (settings) launch(settings)

  return {
    hold: (held, lane) => hold(held, holdingOf(held, lane)),
    drop: (held, lane) => drop(held, () => holdingOf(held, lane)),
    holdPermit(lane, permit) {
      if (!limits.has(lane)) tell({ limits: readLimits(lane) })
      const one = permitHolding(lane, permit)
      hold(one, one)
    },
    dropPermit(lane, permit) {
      const one = permitHolding(lane, permit)
      drop(one, () => one)
    },
    async stop() {
      stopped = true
      clearInterval(signs)
      clearInterval(fallback)
      clearTimeout(relaunch)
      await thread?.terminate()
    },
  }
}

function holdingOf(held: Held, lane: string): Holding {
  const entry = `${held.id}-${held.entry}`
  return held.placed ? placeHolding(held.tenant, entry) : lockHolding(lane, { entry, token: held.token })
}
