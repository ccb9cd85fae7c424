import { hasSuccessors, type Lane, listLanes, resolveLane, successorOf } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import type { DirectDispatch } from '../jobs/direct-dispatch.ts'
import type { EmbeddingCache } from '../jobs/embedding-cache.ts'
import { abortChannel, directChannel, wakeChannel } from '../jobs/keys.ts'
import { lockLease } from '../jobs/leases.ts'
import type { PromptPrefixes } from '../jobs/prompt-prefixes.ts'
import type { PubSub } from '../jobs/pubsub.ts'
import type { Queues } from '../jobs/queue.ts'
import type { Work } from '../jobs/work.ts'
import { repeat } from '../lib/repeat.ts'
import type { Provider } from '../providers/provider.ts'
import type { SourcePlace } from '../providers/registry.ts'
import type { Gate } from '../ratelimit/gate.ts'
import type { ExecuteDeps } from './execute.ts'
import type { Heartbeat } from './heartbeat.ts'
import { type LaneLoop, type LaneLoopDeps, startLaneLoop } from './lane-loop.ts'
import { createRunningCalls } from './running-calls.ts'
import { unlessAborted } from './unless-aborted.ts'

/** From one look for lanes to the next, and from one announcement of open ones, ms. */
const LOOK_MS = 1000

/** A start waits no longer than this for the first look for lanes, ms. */
const FIRST_LOOK_MS = 1000

/** How long running calls may go on after SIGTERM before they are given back; and while the store is unavailable. */
const DRAIN_MS = 25_000
const DRAIN_AWAY_MS = 3_000
/** From one look at the store to the next meanwhile. */
const WATCH_MS = 500

/**
 * A lane of models `"*"` ends after this long without work, and its state is deleted. Longer than most providers' windows, so that
 * nothing counts against a limit any more.
 */
const LANE_IDLE_MS = 75_000

/** A loop that made no turn for this long is stuck. */
const STUCK_MS = 30_000

export type WorkerDeps = {
  config: () => Config
  prefix: string
  queues: Queues
  directDispatch: DirectDispatch
  /** Of this process, among all. */
  name: string
  /** Tells the API which lanes take direct dispatches; none: this worker stops. */
  announce: (lanes: string[]) => Promise<unknown>
  work: Work
  embeddingCache: EmbeddingCache
  prefixes: PromptPrefixes
  gate: Gate
  heartbeat: Heartbeat
  spool: LaneLoopDeps['spool']
  pubsub: PubSub
  files: ExecuteDeps['files']
  putFiles: ExecuteDeps['putFiles']
  /** The adapter of a provider, or of one of the sources of its models. */
  provider: (name: string, at: SourcePlace | null) => Provider
  /** Lanes with work that the configuration does not list by name (models `"*"`). */
  knownLanes: () => Promise<string[]>
  /** What the lane's entries wait for changed. */
  note: LaneLoopDeps['note']
  noteTier: LaneLoopDeps['noteTier']
  /** How long a lane that the configuration does not name may be idle before it ends, ms; 75 s unless given. */
  laneIdleMs?: number
  /** Whether the store answers, within 3 s. Never throws. */
  isStoreThere: () => Promise<boolean>
  now: () => number
  random: () => number
  onError: (error: unknown, what: string) => void
  events?: ExecuteDeps['events']
}

export type WorkerProcess = {
  /** False when a lane's loop is stuck; the reason says which. */
  health(): { ok: boolean; reason?: string }
  stop(): Promise<void>
}

/** Starts a loop for every lane, and listens for wake-ups and aborts. */
export async function startWorker(deps: WorkerDeps): Promise<WorkerProcess> {
  const loops = new Map<string, LaneLoop>()
  const laneIdleMs = deps.laneIdleMs ?? LANE_IDLE_MS
  /** Lanes with entries that are not configured, by the time of the last look. */
  const lookedAt = new Map<string, number>()
  const calls = createRunningCalls()
  let stopped = false

  function ensureLoop(id: string): LaneLoop | null {
    const known = loops.get(id)
    if (known) return known
    if (stopped || resolveLane(deps.config(), id) === null) return null
    const slash = id.indexOf('/')
    const loop = startLaneLoop({
      lane: (): Lane | null => resolveLane(deps.config(), id),
      laneId: id,
      queues: deps.queues,
      directDispatch: deps.directDispatch,
      work: deps.work,
      embeddingCache: deps.embeddingCache,
      prefixes: deps.prefixes,
      gate: deps.gate,
      files: deps.files,
      putFiles: deps.putFiles,
      provider: (source) =>
        deps.provider(id.slice(0, slash), source === null ? null : { model: id.slice(slash + 1), source }),
      calls,
      successor: ({ model, unfitLanes }) => successorOf(deps.config(), model, id, unfitLanes),
      hasSuccessors: () => hasSuccessors(deps.config(), id),
      heartbeat: deps.heartbeat,
      spool: deps.spool,
      lateMs: lockLease(deps.config().jobs.stalled_after) / 2,
      note: deps.note,
      noteTier: deps.noteTier,
      now: deps.now,
      random: deps.random,
      onError: deps.onError,
      ...(deps.events ? { events: deps.events } : {}),
    })
    loops.set(id, loop)
    return loop
  }

  function ensureListed(): Set<string> {
    const named = new Set(listLanes(deps.config()).map(({ id }) => id))
    for (const id of named) ensureLoop(id)
    return named
  }

  async function discover(): Promise<void> {
    const named = ensureListed()
    const time = performance.now()
    for (const [id, at] of lookedAt) if (time - at > laneIdleMs) lookedAt.delete(id)
    const unknown = (await deps.knownLanes()).filter((id) => !loops.has(id) && !lookedAt.has(id))
    const idle = [...loops].filter(([id, loop]) => !named.has(id) && loop.idleFor() > laneIdleMs)
    await Promise.all([...unknown, ...idle.map(([id]) => id)].map(retireOrServe))
  }

  /** Ends lanes without work; starts a loop for a configured lane with work. */
  async function retireOrServe(id: string): Promise<void> {
    if (!(await deps.queues.retire(id))) {
      if (ensureLoop(id) === null) lookedAt.set(id, performance.now())
      return
    }
    const loop = loops.get(id)
    loops.delete(id)
    await loop?.stop(AbortSignal.timeout(DRAIN_MS))
    const lane = resolveLane(deps.config(), id)
    if (lane !== null) await deps.gate.forget(lane)
  }

  // None of these waits for Redis: a worker that starts before Redis begins when Redis comes.
  const wakeEar = deps.pubsub.keepListening(wakeChannel(deps.prefix), (id) => {
    if (id === '') for (const loop of loops.values()) loop.wake()
    else ensureLoop(id)?.wake()
  })
  const abortEar = deps.pubsub.keepListening(abortChannel(deps.prefix), (message) => {
    const [tenant, id] = message.split(' ')
    if (tenant && id) calls.cancel(tenant, id)
  })
  const directListener = deps.pubsub.keepListening(directChannel(deps.prefix, deps.name), (message) => {
    if (message === '') return // the sweeper handles missed messages
    const held = deps.directDispatch.toHeld(message)
    const loop = held.placed && ensureLoop(held.placed.lane)
    if (loop) loop.offer(held)
    else deps.directDispatch.giveBack(held).catch((error) => deps.onError(error, 'queueing a job'))
  })
  const announce = async () => {
    const open = [...loops].filter(([, loop]) => loop.isOpen()).map(([id]) => id)
    if (open.length > 0 && directListener.stands()) await deps.announce(open)
  }

  ensureListed()
  const first = discover().catch((error) => deps.onError(error, 'looking for lanes'))
  const every = (task: () => Promise<unknown>, what: string) =>
    repeat(LOOK_MS, task, (error) => deps.onError(error, what))
  // Each by itself, so that a slow look does not delay the announcement of lanes.
  const turns = [
    every(() => first.then(discover), 'looking for lanes'),
    every(announce, 'announcing open lanes'),
  ]
  // If Redis is available, the lanes that only it knows are served from the start.
  await unlessAborted(AbortSignal.timeout(FIRST_LOOK_MS), first)

  return {
    health() {
      const stuck = [...loops].find(([, loop]) => performance.now() - loop.lastTurn() > STUCK_MS)
      return stuck ? { ok: false, reason: `the loop of lane ${stuck[0]} makes no progress` } : { ok: true }
    },
    async stop() {
      stopped = true
      wakeEar.leave()
      const drain = startDrain(deps.isStoreThere)
      await deps.announce([]).catch((error) => deps.onError(error, 'closing the lanes'))
      await Promise.all([...loops.values()].map((loop) => loop.stop(drain.over)))
      abortEar.leave()
      directListener.leave()
      await unlessAborted(drain.over, Promise.all(turns.map((turn) => turn.stop())))
      drain.end()
    },
  }
}

/**
 * How long running calls may go on: `over` aborts after 25 s, or after the store was unavailable for 3 s in a row. Later answers
 * are on this worker's disk and wait for the store there.
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
