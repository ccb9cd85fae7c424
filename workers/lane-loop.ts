import type { Lane } from '../config/lanes.ts'
import type { DirectDispatch } from '../jobs/direct-dispatch.ts'
import type { EmbeddingCache } from '../jobs/embedding-cache.ts'
import type { Held, LaneQueue, Queues } from '../jobs/queue.ts'
import type { Claimed, Work } from '../jobs/work.ts'
import { createWaker } from '../lib/waker.ts'
import type { Provider } from '../providers/provider.ts'
import type { Cost, Gate, LaneWaitingFor } from '../ratelimit/gate.ts'
import { createExecutor, type ExecuteDeps } from './execute.ts'
import { gatherSettlements } from './gather-settlements.ts'
import { createHandOff } from './hand-off.ts'
import type { Heartbeat } from './heartbeat.ts'
import { createLaunchPace } from './launch-pace.ts'
import { PATIENCE_MS } from './outcome.ts'
import { type Prefetched, planCalls, tenantOf } from './plan.ts'
import type { RunningCalls } from './running-calls.ts'
import type { Spool } from './spool.ts'
import { trackHeld } from './track-held.ts'
import { unlessAborted } from './unless-aborted.ts'

/**
 * An idle lane looks at its queue this often, should a wake-up be lost: after the first look that found nothing, and at the most, for
 * each time it finds nothing it waits twice as long.
 */
const IDLE_MS = 1000
const MOST_IDLE_MS = 5000

/**
 * From a look that found nothing to the next one for what is due: by the view of Redis' clock it may be due already, and by
 * that clock not yet.
 */
const SOONEST_MS = 10

/** A lane that is paused for longer gives its entries in hand back, for higher priorities to go first then. */
const HOLD_MS = 2000

/** While the breaker is not closed, a job that may tell how the provider is is looked for this often, ms. */
const SEARCH_MS = 400

/** Most entries taken ahead of their permits while the lane lets everything through. */
const MOST_AHEAD = 64

/** Entries in hand beyond what the gate lets through are given back where they are more than this, for others' turns. */
const SPARE_HAND = 8

/** While results of dead workers wait for the store no call begins, for it might be one of theirs; looked at this often. */
const RECOVERY_MS = 50

/** Pause after an error of the store. */
const ERROR_PAUSE_MS = 250

export type LaneLoopDeps = {
  /** The lane as configured now; null: it is configured no more. */
  lane: () => Lane | null
  laneId: string
  queues: Queues
  /** The way of jobs that do not come out of the queue. */
  directDispatch: DirectDispatch
  work: Work
  embeddingCache: EmbeddingCache
  gate: Gate
  provider: () => Provider
  calls: RunningCalls
  spool: Pick<Spool, 'put' | 'isRecovering'>
  /** The lane that serves a model's jobs when this one cannot; null: there is none. */
  successor: (job: Pick<Claimed, 'model' | 'unfitLanes'>) => string | null
  /** Whether this lane has a successor in any route. */
  hasSuccessors: () => boolean
  /** Holds what this loop holds in the store. */
  heartbeat: Pick<Heartbeat, 'hold' | 'drop' | 'holdPermit' | 'dropPermit'>
  /** The locks of entries that were fetched, or seen to be ours, longer ago may be over. */
  lateMs: number
  /** Tells what the lane's entries wait for, when that changes. */
  note: (lane: string, waitingFor: LaneWaitingFor | null) => void
  /** Unix ms, by Redis' clock. */
  now: () => number
  random: () => number
  onError: (error: unknown, what: string) => void
  events?: ExecuteDeps['events']
}

export type LaneLoop = {
  /** There may be work, or the lane may have opened. */
  wake(): void
  /** True: this lane takes jobs straight from the API, for none waits that has to go before. */
  isOpen(): boolean
  /** A job straight from the API, which goes to the queue where the lane is not open. */
  offer(held: Held): void
  /** No new calls; resolves when those under way are stored, or given back once `over` is aborted. */
  stop(over: AbortSignal): Promise<void>
  /** For how long it has had nothing in hand or under way, ms. */
  idleFor(): number
  /** When the loop made its last turn, as `performance.now` tells it. */
  lastTurn(): number
}

/**
 * One lane of one worker process.
 *
 *   fetch ──> hand ──> plan ──> take (the gate) ──> execute, beside the loop
 *     ^                           │ refused: wait exactly as long as it says
 *     └────────────── wake ───────┘
 *
 * Nothing is fetched while the gate is known to be shut, and at most one call's worth is in hand while it is: a
 * fetched entry's cost is exact, so the gate books what will be sent, and never sends what it has not booked.
 */
export function startLaneLoop(deps: LaneLoopDeps): LaneLoop {
  const { gate, heartbeat } = deps
  // The loop's own times are spans: no clock that is set shall hold it up.
  const now = () => performance.now()
  const waker = createWaker()
  const giveUp = new AbortController()
  const inFlight = new Set<Promise<void>>()
  /** What is held, and since when it is known to be, as `performance.now` tells it. */
  const held = new Map<Held, number>()
  let lane = deps.lane()
  let hand: Prefetched[] = []
  let ahead = 1
  let wasFull = false
  /** Before this the queue has nothing that is due; whoever hears otherwise sets it to 0. */
  let lookAt = 0
  /** How long it rests after the next look that finds nothing. */
  let idleMs = IDLE_MS
  /** Whether what is delayed was asked for since the queue was last looked at. */
  let knowsDue = false
  let hints = 0
  let shutUntil = 0
  /** Whether the lane was paused since something was served. */
  let wasPaused = false
  /** Whether the breaker was not closed when the gate was last asked. */
  let isProbing = false
  let waitingFor: LaneWaitingFor | null = null
  let noted: LaneWaitingFor | null = null
  const pace = createLaunchPace(now)
  let stopping = false
  let turn = now()
  let busyAt = now()

  const queue: LaneQueue = trackHeld(
    deps.queues.consume(deps.laneId, {
      onStalled: lookAgain,
      onError: (error) => deps.onError(error, 'the queue'),
    }),
    deps.directDispatch,
    drop,
    (one) => hold(one, now()),
    () => {
      knowsDue = false
    },
  )
  const handOff = createHandOff({ queue, work: deps.work, successor: deps.successor, abandon, now: deps.now })
  const currentLane = () => lane!
  const executor = createExecutor({
    lane: currentLane,
    queue,
    work: deps.work,
    embeddingCache: deps.embeddingCache,
    gate: gatherSettlements(gate),
    provider: deps.provider,
    calls: deps.calls,
    spool: deps.spool,
    now: deps.now,
    random: deps.random,
    signal: giveUp.signal,
    onError: deps.onError,
    successor: deps.successor,
    acquire,
    abandon,
    stillHeld,
    release: (permit) => heartbeat.dropPermit(deps.laneId, permit),
    ...(deps.events ? { events: deps.events } : {}),
  })

  function isOpen(): boolean {
    // Whoever looked last, or was last told, knows of nothing in the queue; a hint would have set it to 0.
    const isIdle = lookAt !== 0 && hand.length < MOST_AHEAD && now() >= shutUntil
    const current = stopping ? null : deps.lane()
    return isIdle && current !== null && !current.coalesce
  }

  function offer(one: Held): void {
    for (const known of held.keys())
      if (known.placed && known.id === one.id && known.tenant === one.tenant) return
    if (!isOpen()) {
      deps.directDispatch.giveBack(one).catch((error) => deps.onError(error, 'queueing a job'))
      return
    }
    hold(one, performance.now())
    hand.push({ held: one, since: now() })
    waker.wake()
  }

  function hold(one: Held, since: number): void {
    held.set(one, since)
    heartbeat.hold(one, deps.laneId)
  }

  function drop(one: Held): void {
    held.delete(one)
    busyAt = now()
    heartbeat.drop(one, deps.laneId)
  }

  /** There may be work in the queue, which a call that ends does not mean. */
  function lookAgain(): void {
    lookAt = 0
    idleMs = IDLE_MS
    knowsDue = false
    hints++
    waker.wake()
  }

  async function run(): Promise<void> {
    while (!stopping) {
      turn = now()
      try {
        lane = deps.lane() ?? lane
        if (deps.lane() === null) await waker.sleep(IDLE_MS)
        else if (deps.spool.isRecovering()) await waker.sleep(RECOVERY_MS)
        else await step(currentLane())
      } catch (error) {
        deps.onError(error, 'the lane loop')
        await waker.sleep(ERROR_PAUSE_MS)
      }
    }
  }

  async function step(current: Lane): Promise<void> {
    await fill(current)
    if (hand.length === 0) {
      if (now() < shutUntil) return waker.sleep(shutUntil - now())
      noted = null // a lane that ran empty has forgotten it (ratelimit/lua/tag.lua)
      if (!knowsDue) {
        const heard = hints
        const due = await queue.nextDue()
        knowsDue = heard === hints
        if (due !== null && knowsDue)
          lookAt = Math.min(lookAt, now() + Math.max(SOONEST_MS, due - deps.now()))
      }
      return waker.sleep(Math.max(1, lookAt - now()))
    }
    if (now() < shutUntil) return waker.sleep(shutUntil - now())

    const plan = planCalls(hand, current, inFlight.size, now(), isProbing)
    if (plan.ready.length === 0) return waker.sleep(Math.max(1, plan.readyAt! - now()))

    const answer = await gate.take(
      current,
      plan.ready.map((call) => call.cost),
      plan.ready.map((call) => tenantOf(call.held)),
    )
    isProbing = answer.othersMay === true
    const launched: Held[] = []
    for (const [index, permit] of answer.permits.entries()) {
      const call = plan.ready[index]!
      hand = hand.filter((one) => !call.held.includes(one.held))
      launched.push(...call.held)
      launch(() => executor.execute(call, permit, waitingFor), permit)
    }
    if (launched.length > 0) {
      pace.count(launched.length)
      queue.served(launched, wasPaused)
      wasPaused = false
    }
    wasPaused ||= answer.waitingFor === 'provider_pause'
    if (answer.permits.length === plan.ready.length) {
      waitFor(null)
      return
    }
    if (answer.never) {
      // The limit was lowered since the API let it in.
      const call = plan.ready[answer.permits.length]!
      hand = hand.filter((one) => !call.held.includes(one.held))
      return executor.refuse(call)
    }
    ahead = Math.max(1, answer.permits.length)
    waitFor(answer.waitingFor)
    shutUntil = now() + Math.min(answer.waitMs, IDLE_MS)
    await queueDirect()
    if (answer.othersMay) return makeWay(current, answer.waitMs)
    if (answer.waitingFor !== 'provider_pause') return giveBackSpare(current)
    if (answer.waitMs <= HOLD_MS) return
    if (answer.waitMs > PATIENCE_MS && deps.hasSuccessors())
      return spill(takeHand(), deps.now() + answer.waitMs)
    await giveBackHand()
  }

  /**
   * The breaker keeps the next call for whose it is. Jobs of such tenants leave the hand, and one comes first that may
   * tell how the provider is.
   */
  async function makeWay(current: Lane, waitMs: number): Promise<void> {
    const { breaker } = await gate.read(current)
    const kept = new Set([...breaker.heldTenants, ...breaker.triedTenants])
    const blocked = hand.filter((one) => kept.has(one.held.tenant)).map((one) => one.held)
    hand = hand.filter((one) => !kept.has(one.held.tenant))
    if (waitMs > PATIENCE_MS && deps.hasSuccessors() && blocked.length > 0)
      return spill(blocked, deps.now() + waitMs)
    await handOff.giveBackInTurn(blocked)
    ahead = 1
    lookAt = 0
    shutUntil = now() + Math.min(waitMs, SEARCH_MS)
    if (hand.length === 0 && (await queue.bringForward([...kept]))) shutUntil = 0
  }

  function waitFor(reason: LaneWaitingFor | null): void {
    waitingFor = reason
    // A busy lane is refused between any two grants: what it waits for is news only when it is something else.
    if (reason !== null && reason !== noted) deps.note(deps.laneId, reason)
    noted = reason ?? noted
  }

  function rest(): void {
    lookAt = now() + idleMs
    idleMs = Math.min(MOST_IDLE_MS, 2 * idleMs)
  }

  /** Fetches up to a call's worth, or as many calls as the gate let through lately. */
  async function fill(current: Lane): Promise<void> {
    // A shut gate gathers a coalesced request further, but fetches nothing that would only wait here.
    if (now() < shutUntil && !(current.coalesce && hand.length > 0)) return
    while (now() >= lookAt) {
      const room = roomInHand(current)
      if (room <= 0) return
      const asked = Math.min(room, ahead)
      const since = now()
      const heard = hints
      knowsDue = false
      // One short command in place of a fetch, where the latest look found nothing and nobody said otherwise.
      if (idleMs > IDLE_MS && hand.length === 0 && (await queue.isEmpty())) {
        if (heard === hints) rest()
        knowsDue = heard === hints
        return
      }
      const fetchedAt = performance.now()
      const fetched = await queue.fetch(asked)
      for (const one of fetched) hold(one, fetchedAt)
      for (const one of await stillHeld(fetched)) hand.push({ held: one, since })
      const isFull = fetched.length === asked
      // As many next time as there were now: an empty queue is asked for one, a full one for many at once. A job that
      // comes alone is no reason to ask for two.
      if (!isFull) ahead = Math.max(1, fetched.length)
      else if (wasFull) ahead = Math.min(MOST_AHEAD, ahead * 2)
      wasFull = isFull
      if (fetched.length > 0) idleMs = IDLE_MS
      if (!isFull && heard === hints) rest()
      if (!isFull || !current.coalesce) return
    }
  }

  /**
   * Those of the entries whose locks are known to be this process'. While it was held up, what it fetched may have gone to another, and
   * a claim would make of that one's call a lost one, and call again. Asks only where that may be, which is seldom.
   */
  async function stillHeld(entries: Held[]): Promise<Held[]> {
    const askedAt = performance.now()
    const isInDoubt = (one: Held) =>
      one.placed === null && askedAt - (held.get(one) ?? Number.NEGATIVE_INFINITY) >= deps.lateMs
    const inDoubt = entries.filter(isInDoubt)
    if (inDoubt.length === 0) return entries
    const lost = await queue.renew(inDoubt)
    for (const one of inDoubt) if (held.has(one)) held.set(one, askedAt)
    abandon(lost)
    return entries.filter((one) => !lost.includes(one))
  }

  function roomInHand(current: Lane): number {
    if (!current.coalesce) return ahead - hand.length
    let inputs = 0
    let tokens = 0
    for (const one of hand) {
      inputs += one.held.cost.inputs
      tokens += one.held.cost.tokens
    }
    return tokens >= current.coalesce.max_tokens ? 0 : current.coalesce.max_inputs - inputs
  }

  function launch(execute: () => Promise<void>, permit: string): void {
    heartbeat.holdPermit(deps.laneId, permit)
    const running = execute().finally(() => {
      inFlight.delete(running)
      // A slot is free, and a gathering request may go.
      if (waitingFor === 'concurrency') shutUntil = 0
      waker.wake()
    })
    inFlight.add(running)
  }

  /** Waits for a permit outside of the loop's own order. */
  async function acquire(cost: Cost, tenant: string): Promise<string> {
    for (;;) {
      const answer = await gate.take(currentLane(), [cost], [tenant]).catch((error) => {
        deps.onError(error, 'taking a permit')
        return { permits: [], waitMs: ERROR_PAUSE_MS }
      })
      const permit = answer.permits[0]
      if (permit !== undefined) {
        heartbeat.holdPermit(deps.laneId, permit)
        return permit
      }
      if (stopping) throw new Error('the worker stops')
      await new Promise((resolve) => setTimeout(resolve, Math.min(IDLE_MS, Math.max(1, answer.waitMs))))
    }
  }

  /** The lane is shut for long: what another lane can serve goes there, the rest comes again when it opens. */
  async function spill(entries: Held[], until: number): Promise<void> {
    ahead = MOST_AHEAD
    shutUntil = 0 // the entries behind these are to go as well
    await handOff.spill(entries, until)
  }

  /** What came straight from the API and has to wait waits in the queue, in its turn. */
  async function queueDirect(): Promise<void> {
    const back = hand.filter((one) => one.held.placed).map((one) => one.held)
    if (back.length === 0) return
    hand = hand.filter((one) => !one.held.placed)
    await handOff.giveBack(back)
  }

  /** What was fetched while the lane let everything through, and would now keep those out whose turn comes first. */
  async function giveBackSpare(current: Lane): Promise<void> {
    // What leaves within half a second keeps nobody out for long, and giving it back costs as much as it takes.
    const most = Math.max(2 * ahead + SPARE_HAND, pace.perSpan())
    if (current.coalesce || hand.length <= most) return
    const spare = hand.slice(ahead).map((one) => one.held)
    hand = hand.slice(0, ahead)
    lookAt = 0
    await handOff.giveBackInTurn(spare)
  }

  async function giveBackHand(): Promise<void> {
    lookAt = 0
    await handOff.giveBackInTurn(takeHand())
  }

  function takeHand(): Held[] {
    const entries = hand.map((one) => one.held)
    hand = []
    return entries
  }

  /** Renews the entries no more: the stalled check hands them out again. */
  function abandon(entries: Held[]): void {
    for (const one of entries) drop(one)
  }

  const done = run()

  return {
    wake: lookAgain,
    isOpen,
    offer,
    lastTurn: () => turn,
    idleFor: () => (held.size + hand.length + inFlight.size > 0 ? 0 : now() - busyAt),
    async stop(over) {
      stopping = true
      waker.wake()
      const abort = () => {
        deps.calls.abortAll()
        giveUp.abort()
      }
      if (over.aborted) abort()
      else over.addEventListener('abort', abort, { once: true })
      // What waits for Redis on BullMQ's connection waits for as long as it is away.
      await unlessAborted(over, done)
      const giveBack = giveBackHand().catch((error) => deps.onError(error, 'giving entries back'))
      await unlessAborted(over, giveBack)
      while (inFlight.size > 0) await Promise.allSettled([...inFlight])
      for (const one of held.keys()) drop(one)
      await unlessAborted(over, queue.close())
      over.removeEventListener('abort', abort)
    },
  }
}
