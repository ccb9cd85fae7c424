import type { DirectDispatch } from '../jobs/direct-dispatch.ts'
import type { Queues } from '../jobs/queue.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { WorkerChannels } from '../jobs/worker-channels.ts'
import { repeat } from '../lib/repeat.ts'
import type { Gate } from '../ratelimit/gate.ts'
import type { CallStore } from './call-store.ts'
import { giveBackStarted } from './give-back-started.ts'
import type { Heartbeat } from './heartbeat.ts'
import { type LaneLoop, type LaneLoopDeps, startLaneLoop } from './lane-loop.ts'
import { createKeep } from './persist.ts'
import { createRunningCalls } from './running-calls.ts'
import type { ServedLanes } from './served-lanes.ts'
import { unlessAborted } from './unless-aborted.ts'

/** Time between two looks for lanes, and between two announcements of open lanes, ms. */
const LOOK_MS = 1000

/**
 * When a worker stops, it waits no longer than this for what was sent to it before Redis knew of the stop, ms. Its
 * loops take new work until then.
 */
const UNHEARD_MS = 2000

/** When a worker starts, it waits no longer than this for the first look for lanes, ms. */
const FIRST_LOOK_MS = 1000

/**
 * After SIGTERM, running calls may go on for this long before they are given back, ms; and for this long while the
 * store is unavailable.
 */
const DRAIN_MS = 25_000
const DRAIN_AWAY_MS = 3_000
/** Time between two looks at the store during that, ms. */
const WATCH_MS = 500

/**
 * A lane of models `"*"` ends after this long without work, ms, and its state is deleted. This is longer than the
 * windows of most providers, so that nothing counts against a limit any more.
 */
const LANE_IDLE_MS = 75_000

/** A loop that made no turn for this long is stuck, ms. */
const STUCK_MS = 30_000

export type WorkerDeps = {
  lanes: ServedLanes
  queues: Pick<Queues, 'consume' | 'lanes' | 'retire'>
  directDispatch: DirectDispatch
  channels: WorkerChannels
  store: CallStore
  gate: Gate
  heartbeat: Heartbeat
  /** Unix ms, by Redis' clock. */
  now: () => number
  onError: (error: unknown, what: string) => void
  events: LaneLoopDeps['events']
}

/** A worker that runs. */
export type WorkerProcess = {
  /** False when a lane's loop is stuck; the reason says which. */
  health(): { ok: boolean; reason?: string }
  stop(): Promise<void>
}

/**
 * Starts a loop for every lane, and listens for wake-ups and aborts. It starts without Redis, and begins work when
 * Redis comes.
 *
 * @param laneIdleMs how long a lane that the configuration does not name may be idle before it ends, ms
 */
export async function startWorker(
  deps: WorkerDeps,
  { laneIdleMs = LANE_IDLE_MS }: { laneIdleMs?: number } = {},
): Promise<WorkerProcess> {
  const { lanes, queues, directDispatch, channels, onError } = deps
  const loops = new Map<string, LaneLoop>()
  /** Lanes that have entries and are not configured, with the time of the last look. */
  const lookedAt = new Map<string, number>()
  const calls = createRunningCalls()
  const giveUp = new AbortController()
  const keep = createKeep(giveUp.signal, onError)
  /** Jobs that are being given back. */
  const returns = new Set<Promise<void>>()
  let stopped = false

  function ensureLoop(id: string): LaneLoop | null {
    const known = loops.get(id)
    if (known) return known
    const lane = stopped ? null : lanes.find(id)
    if (lane === null) return null
    const loop = startLaneLoop({ ...deps, lane, calls })
    loops.set(id, loop)
    return loop
  }

  function ensureListed(): Set<string> {
    const named = new Set(lanes.listNamed())
    for (const id of named) ensureLoop(id)
    return named
  }

  async function discover(): Promise<void> {
    const named = ensureListed()
    const time = performance.now()
    for (const [id, at] of lookedAt) if (time - at > laneIdleMs) lookedAt.delete(id)
    const unknown = (await queues.lanes()).filter((id) => !loops.has(id) && !lookedAt.has(id))
    const idle = [...loops].filter(([id, loop]) => !named.has(id) && loop.idleFor() > laneIdleMs)
    await Promise.all([...unknown, ...idle.map(([id]) => id)].map(retireOrServe))
  }

  /** Ends lanes without work; starts a loop for a configured lane with work. */
  async function retireOrServe(id: string): Promise<void> {
    if (!(await queues.retire(id))) {
      if (ensureLoop(id) === null) lookedAt.set(id, performance.now())
      return
    }
    const loop = loops.get(id)
    loops.delete(id)
    await loop?.stop(AbortSignal.timeout(DRAIN_MS))
    const lane = lanes.find(id)
    if (lane !== null) await deps.gate.forget(lane.current())
  }

  // These listeners do not wait for Redis: a worker that starts before Redis begins when Redis comes.
  const wakeListener = channels.onWake((id) => {
    if (id === '') for (const loop of loops.values()) loop.wake()
    else ensureLoop(id)?.wake()
  })
  const abortListener = channels.onAbort(calls.cancel)
  const directListener = channels.onDirect((message) => {
    const held = directDispatch.toHeld(message)
    const loop = held.placed && ensureLoop(held.placed.lane)
    if (loop) loop.offer(held)
    else keepReturning(returnUnknown(held))
  })
  /** This process does not know the lane of the job. If its call was started, the permit ends by itself. */
  const returnUnknown = (held: Held) => {
    const { giveBack } = directDispatch
    if (held.started === null) return keep(() => giveBack(held), 'queueing a job')
    const lane = held.placed?.lane ?? ''
    const returning = { work: deps.store.work, lane, now: deps.now, giveBack }
    return keep(() => giveBackStarted(held, returning), 'giving a job back')
  }
  const keepReturning = (returning: Promise<void>) => {
    const one: Promise<void> = returning.catch(() => {}).finally(() => returns.delete(one))
    returns.add(one)
  }
  const announce = async () => {
    if (stopped) return
    const open = [...loops].filter(([, loop]) => loop.isOpen()).map(([id]) => id)
    if (open.length > 0 && directListener.isActive()) await channels.announce(open)
  }

  ensureListed()
  const first = discover().catch((error) => onError(error, 'looking for lanes'))
  const every = (task: () => Promise<unknown>, what: string) =>
    repeat(LOOK_MS, task, (error) => onError(error, what))
  // Each by itself, so that a slow look does not delay the announcement of open lanes.
  const turns = [
    every(() => first.then(discover), 'looking for lanes'),
    every(announce, 'announcing open lanes'),
  ]
  // If Redis is available, lanes that only Redis knows are served from the start.
  await unlessAborted(AbortSignal.timeout(FIRST_LOOK_MS), first)

  return {
    health() {
      const stuck = [...loops].find(([, loop]) => performance.now() - loop.lastTurn() > STUCK_MS)
      return stuck ? { ok: false, reason: `the loop of lane ${stuck[0]} makes no progress` } : { ok: true }
    },
    async stop() {
      stopped = true
      wakeListener.leave()
      const drain = startDrain(deps.store.isThere)
      await channels.announce([]).catch((error) => onError(error, 'announcing that the worker stops'))
      // Until Redis sends this worker nothing more, it makes the calls that were started for it, because its loops
      // still begin calls.
      await unlessAborted(
        AbortSignal.any([drain.over, AbortSignal.timeout(UNHEARD_MS)]),
        directListener.drain(),
      )
      await Promise.all([...loops.values()].map((loop) => loop.stop(drain.over)))
      abortListener.leave()
      directListener.leave()
      await unlessAborted(drain.over, Promise.all(returns))
      giveUp.abort()
      await unlessAborted(drain.over, Promise.all(turns.map((turn) => turn.stop())))
      drain.end()
    },
  }
}

/**
 * How long running calls may go on: `over` aborts after 25 s, or after the store was unavailable for 3 s in a row.
 * Answers that come later are on this worker's disk, and wait there for the store.
 */
function startDrain(isStoreThere: () => Promise<boolean>): { over: AbortSignal; end(): void } {
  const over = new AbortController()
  const whole = setTimeout(() => over.abort(), DRAIN_MS)
  let awaySince: number | null = null
  const watch = repeat(
    WATCH_MS,
    async () => {
      const askedAt = performance.now()
      awaySince = (await isStoreThere()) ? null : (awaySince ?? askedAt)
      if (awaySince !== null && askedAt - awaySince >= DRAIN_AWAY_MS) over.abort()
    },
    () => {},
  )
  return {
    over: over.signal,
    end() {
      clearTimeout(whole)
      watch.stop()
    },
  }
}
