import type { Lane } from '../config/lanes.ts'
import type { DirectDispatch } from '../jobs/direct-dispatch.ts'
import type { Queues } from '../jobs/queue.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { Emit } from '../lib/emitter.ts'
import { createWaker } from '../lib/waker.ts'
import type { Gate, TakeAnswer } from '../ratelimit/gate.ts'
import { STANDARD } from '../ratelimit/lane-state.ts'
import { createAfterRefusal, type LaneEvents } from './after-refusal.ts'
import { decideAfterTake } from './after-take.ts'
import type { CallStore } from './call-store.ts'
import type { CallEvents } from './ended-call.ts'
import { createExecutor } from './execute.ts'
import { giveBackStarted } from './give-back-started.ts'
import { createHand } from './hand.ts'
import { createHandOff } from './hand-off.ts'
import type { Heartbeat } from './heartbeat.ts'
import { createHeldEntries } from './held-entries.ts'
import { createLaneGate } from './lane-gate.ts'
import { createLaunchPace } from './launch-pace.ts'
import { foundEmpty, MOST_AHEAD, nextLookAt, ownLoopState, shutUntil, waitedFor } from './loop-state.ts'
import { createKeep } from './persist.ts'
import { boundTo, costOf, isBound, type PlannedCall, planCalls, tenantOf } from './plan.ts'
import { createPrefetch } from './prefetch.ts'
import type { RunningCalls } from './running-calls.ts'
import type { ServedLane } from './served-lanes.ts'
import { createShutTiers } from './shut-tiers.ts'
import { tierToTake } from './tier-of-call.ts'
import { trackHeld } from './track-held.ts'
import { unlessAborted } from './unless-aborted.ts'

/** How often a lane that the configuration no longer names is looked up, ms. */
const UNCONFIGURED_MS = 1000

/**
 * How often the loop checks whether results of dead workers still wait for the store. Until then it begins no call,
 * because it might repeat one of theirs. Calls that were started for this worker do not wait: their jobs are new.
 */
const RECOVERY_MS = 50

/** Pause after an error of the store, ms. */
const ERROR_PAUSE_MS = 250

export type LaneLoopDeps = {
  lane: ServedLane
  queues: Pick<Queues, 'consume'>
  /** Holds jobs that do not come from the queue. */
  directDispatch: DirectDispatch
  store: Omit<CallStore, 'isThere'>
  gate: Gate
  calls: RunningCalls
  heartbeat: Heartbeat
  /** Unix ms, by Redis' clock. */
  now: () => number
  onError: (error: unknown, what: string) => void
  events: Emit<CallEvents & LaneEvents>
}

/** The loop of one lane. */
export type LaneLoop = {
  /** There may be work, or the lane may have opened. */
  wake(): void
  /** True: this lane takes directly dispatched jobs, because no other job waits. */
  isOpen(): boolean
  /** Takes a directly dispatched job. If the lane is not open, the job goes to the queue. */
  offer(held: Held): void
  /** Starts no new calls. Resolves when the calls under way are stored, or given back after `over` aborted. */
  stop(over: AbortSignal): Promise<void>
  /** How long it has held no entry and had no call under way, ms. */
  idleFor(): number
  /** When the loop made its last turn, by `performance.now`. */
  lastTurn(): number
}

/**
 * One lane of one worker process.
 *
 *   fetch ──> hand ──> plan ──> take (the gate) ──> execute, beside the loop
 *     ^                           │ refused: wait exactly as long as it says
 *     └────────────── wake ───────┘
 *
 * The loop decides by one value, which one function changes (loop-state.ts). Each turn of the loop is in the first of these modes that
 * applies:
 *
 * | mode | when | it goes on |
 * | --- | --- | --- |
 * | unconfigured | the configuration does not name the lane | after 1 s |
 * | recovering | results of dead workers wait for the store | after 50 ms |
 * | shut | the gate said no. Nothing is fetched, unless for a request that still gathers | when the gate said |
 * | idle | nothing is in hand | at the next look at the queue |
 * | gathering | a request may still grow, or all entries in hand wait for their tiers | when the request is ready, or it is time to ask the gate about a tier |
 * | asking | otherwise: takes permits. What follows a refusal: after-take.ts | at once |
 *
 * A wake-up or the end of a call ends every wait. The cost of a fetched entry is exact. So the gate books what will be sent, and the loop
 * sends only what is booked.
 */
export function startLaneLoop(deps: LaneLoopDeps): LaneLoop {
  const { lane, store, calls, events, onError } = deps
  const waker = createWaker()
  const giveUp = new AbortController()
  const inFlight = new Set<Promise<void>>()
  /** Jobs that were started for this worker and are being given back. */
  const returns = new Set<Promise<unknown>>()
  const hand = createHand()
  const state = ownLoopState()
  // The loop's own times are spans, so that setting a clock cannot delay it.
  const pace = createLaunchPace(() => performance.now())
  let stopping = false
  /** Calls that were begun have ended. Those that begin now are given back. */
  let isOver = false
  let turn = performance.now()

  const bareQueue = deps.queues.consume(lane.id, {
    onStalled: lookAgain,
    onError: (error) => onError(error, 'the queue'),
  })
  const entries = createHeldEntries({ laneId: lane.id, heartbeat: deps.heartbeat })
  const queue = trackHeld(bareQueue, deps.directDispatch, entries, () =>
    state.tell({ kind: 'entry_delayed' }),
  )
  const shutTiers = createShutTiers({
    queue,
    tierOf: (one) => tierToTake([one], deps.now()),
    now: () => performance.now(),
  })
  const prefetch = createPrefetch({ hand, state, queue, entries, shutTiers, now: deps.now })
  const handOff = createHandOff({ queue, work: store.work, lane, entries, now: deps.now })
  const gate = createLaneGate({ ...deps, isStopping: () => stopping })
  const afterRefusal = createAfterRefusal({
    ...{ hand, state, queue, shutTiers, handOff, pace, gate, events },
    now: deps.now,
  })
  const keep = createKeep(giveUp.signal, onError)
  const executor = createExecutor({
    ...{ lane, queue, entries, gate, store, calls, events, onError, keep },
    now: deps.now,
  })

  function isOpen(): boolean {
    const isIdle =
      foundEmpty(state.now()) &&
      hand.size() < MOST_AHEAD &&
      performance.now() >= shutUntil(state.now()) &&
      !shutTiers.isStandardShut()
    return isIdle && !stopping && lane.refresh() && !lane.current().coalesce
  }

  function offer(one: Held): void {
    for (const known of entries.all())
      if (known.placed && known.id === one.id && known.tenant === one.tenant) return
    if (one.started !== null) {
      begin(one, one.started.permit)
      return
    }
    if (!isOpen()) {
      deps.directDispatch.giveBack(one).catch((error) => onError(error, 'queueing a job'))
      return
    }
    entries.hold(one)
    hand.add(one, performance.now())
    waker.wake()
  }

  /** Makes a call that was started for this worker and has its permit. */
  function begin(one: Held, permit: string): void {
    if (isOver || !lane.refresh()) {
      const returning = giveBack(one, permit)
        .catch(() => {})
        .finally(() => returns.delete(returning))
      returns.add(returning)
      return
    }
    entries.hold(one)
    launch(() => executor.execute({ held: [one], cost: costOf([one]) }, permit, null), permit)
    pace.count(1)
  }

  async function giveBack(one: Held, permit: string): Promise<void> {
    const { giveBack } = deps.directDispatch
    const returning = { work: store.work, lane: lane.id, now: deps.now, giveBack }
    const what = 'giving a job back'
    await Promise.all([
      keep(() => gate.settle(lane.current(), [{ permit, actual: null }]), what),
      keep(() => giveBackStarted(one, returning), what),
    ])
  }

  /** There may be work in the queue. The end of a call says nothing about that. */
  function lookAgain(): void {
    state.tell({ kind: 'hint' })
    shutTiers.heard()
    waker.wake()
  }

  async function run(): Promise<void> {
    while (!stopping) {
      turn = performance.now()
      try {
        if (!lane.refresh()) await waker.sleep(UNCONFIGURED_MS)
        else if (store.spool.isRecovering()) await waker.sleep(RECOVERY_MS)
        else await step(lane.current())
      } catch (error) {
        onError(error, 'the lane loop')
        await waker.sleep(ERROR_PAUSE_MS)
      }
    }
  }

  async function step(current: Lane): Promise<void> {
    await prefetch.fill(current)
    shutTiers.askWhereMany(hand.entries())
    const shut = shutUntil(state.now())
    if (performance.now() < shut) return sleepUntil(shut)
    if (hand.size() === 0) return sleepUntil(await findNextLook())

    const free = hand.list().filter((one) => !shutTiers.holds(one.held))
    const { isProbing } = state.now()
    const plan = planCalls(free, current, inFlight.size, performance.now(), isProbing, cachedOf(current))
    if (plan.ready.length === 0) {
      const aside = free.length === hand.size() ? Number.POSITIVE_INFINITY : nextLookForTiers()
      return sleepUntil(Math.min(plan.readyAt ?? Number.POSITIVE_INFINITY, aside))
    }
    await ask(current, plan.ready)
  }

  /** Takes permits for calls, and launches those that got one. */
  async function ask(current: Lane, ready: PlannedCall[]): Promise<void> {
    // The tiers are read once, because an entry may fall back to standard while the gate answers.
    const requests = ready.map(({ cost, held }) => ({
      cost,
      tenant: tenantOf(held),
      source: current.sources === undefined ? '' : boundTo(held),
      tier: tierToTake(held, deps.now()),
    }))
    const answer = await gate.take(current, requests)
    launchGranted(ready, answer)
    const next = ready[answer.permits.length] ?? null
    const tier = requests[answer.permits.length]?.tier ?? STANDARD
    const after = decideAfterTake(
      answer,
      next && { isBound: isBound(current, next), tier },
      lane.hasSuccessors,
    )
    const { reported } = state.now()
    state.tell({ kind: 'answered', answer, after, now: performance.now() })
    if (next === null) return
    if (after.kind === 'refuse') {
      hand.take((one) => next.held.includes(one))
      return executor.refuse(next)
    }
    await afterRefusal.follow({ lane: current, answer, after, next }, reported)
  }

  function launchGranted(ready: readonly PlannedCall[], { permits }: TakeAnswer): void {
    const granted = ready.slice(0, permits.length)
    const launched = granted.flatMap((call) => call.held)
    if (launched.length === 0) return
    hand.take((one) => launched.includes(one))
    const waited = waitedFor(state.now())
    for (const [index, call] of granted.entries()) {
      const permit = permits[index]!
      launch(() => executor.execute(call, permit, waited), permit)
    }
    pace.count(launched.length)
    queue.served(launched, state.now().wasPaused)
  }

  function launch(execute: () => Promise<void>, permit: string): void {
    gate.hold(permit)
    const running = execute().finally(() => {
      inFlight.delete(running)
      // A request that gathers may go now, or a slot is free.
      state.tell({ kind: 'call_ended' })
      waker.wake()
    })
    inFlight.add(running)
  }

  /** When there may be something to fetch, while nothing is in hand. */
  async function findNextLook(): Promise<number> {
    return shutTiers.isStandardShut() ? nextLookForTiers() : prefetch.findNextLook()
  }

  /** When to ask the gate again about tiers that are shut, or to look at the queue. */
  function nextLookForTiers(): number {
    return shutTiers.nextLook(nextLookAt(state.now()))
  }

  async function sleepUntil(at: number): Promise<void> {
    await waker.sleep(Math.max(1, at - performance.now()))
  }

  /**
   * Anthropic does not count cached input (Rate limits, "Cache-aware ITPM"). If the lane keeps its prompt cache warm,
   * it is known before the call.
   */
  function cachedOf(current: Lane): (held: Held) => number {
    if (current.promptCache !== 'warm' || current.kind !== 'anthropic') return () => 0
    return ({ cost: { prefix } }) =>
      prefix === undefined ? 0 : store.prefixes.cachedTokens(current.id, prefix)
  }

  async function giveBackHand(): Promise<void> {
    state.tell({ kind: 'given_back' })
    await handOff.giveBackInTurn(hand.take())
  }

  const done = run()

  return {
    wake: lookAgain,
    isOpen,
    offer,
    lastTurn: () => turn,
    idleFor: () =>
      entries.all().length + hand.size() + inFlight.size > 0 ? 0 : performance.now() - entries.busyAt(),
    async stop(over) {
      stopping = true
      waker.wake()
      const abort = () => {
        isOver = true
        calls.abortAll()
        giveUp.abort()
      }
      if (over.aborted) abort()
      else over.addEventListener('abort', abort, { once: true })
      // Commands on BullMQ's connection wait for Redis without a limit.
      await unlessAborted(over, done)
      const giveBack = giveBackHand().catch((error) => onError(error, 'giving entries back'))
      await unlessAborted(over, giveBack)
      while (inFlight.size > 0) await Promise.allSettled([...inFlight])
      isOver = true
      await unlessAborted(over, Promise.all(returns))
      entries.abandon(entries.all())
      await unlessAborted(over, queue.close())
      over.removeEventListener('abort', abort)
    },
  }
}
