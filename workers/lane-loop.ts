import { findSlots, type Lane } from '../config/lanes.ts'
import type { Claimed } from '../jobs/claim.ts'
import type { DirectDispatch } from '../jobs/direct-dispatch.ts'
import type { EmbeddingCache } from '../jobs/embedding-cache.ts'
import type { LaneQueue } from '../jobs/lane-queue.ts'
import type { PromptPrefixes } from '../jobs/prompt-prefixes.ts'
import type { Queues } from '../jobs/queue.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { Work } from '../jobs/work.ts'
import { createWaker } from '../lib/waker.ts'
import type { Provider } from '../providers/provider.ts'
import type { Gate, LaneWaitingFor, TakeAnswer } from '../ratelimit/gate.ts'
import { type ServiceTier, STANDARD } from '../ratelimit/lane-state.ts'
import { acquirePermit } from './acquire-permit.ts'
import { createExecutor, type ExecuteDeps } from './execute.ts'
import { gatherSettlements } from './gather-settlements.ts'
import { createHandOff, type PutOff } from './hand-off.ts'
import type { Heartbeat } from './heartbeat.ts'
import { createHeldEntries } from './held-entries.ts'
import { createLaunchPace } from './launch-pace.ts'
import { PATIENCE_MS } from './outcome.ts'
import { boundTo, isBound, type Prefetched, planCalls, tenantOf } from './plan.ts'
import type { RunningCalls } from './running-calls.ts'
import { createShutTiers } from './shut-tiers.ts'
import type { Spool } from './spool.ts'
import { putOffEntry, tierToTake } from './tier-of-call.ts'
import { trackHeld } from './track-held.ts'
import { unlessAborted } from './unless-aborted.ts'

/**
 * How often an idle lane looks at its queue, in case a wake-up is lost: after the first empty look, and the longest wait. The wait
 * doubles with each empty look.
 */
const IDLE_MS = 1000
const MOST_IDLE_MS = 5000

/**
 * Shortest wait from an empty look to the next one for a due entry: this process' view of Redis' clock may be slightly fast,
 * and the entry not due yet.
 */
const SOONEST_MS = 10

/** A lane that is paused for longer gives its prefetched entries back, so that higher priorities go first afterwards. */
const HOLD_MS = 2000

/** While standard is shut for longer, the lane looks for jobs of other tiers, ms. */
const SHORT_MS = 250

/** While the breaker is not closed, the lane looks this often for a job that may show whether the provider works, ms. */
const SEARCH_MS = 400

/** Most entries prefetched while the lane lets everything through. */
const MOST_AHEAD = 64

/** A call that is bound to one source waits for it in hand no longer than this, ms; others may leave by other sources. */
const BOUND_HOLD_MS = 100

/** More prefetched entries than this beyond what the gate grants are given back, for others' turns. */
const SPARE_HAND = 8

/** No call begins while results of dead workers wait for the store, because it might repeat one of theirs. Checked this often. */
const RECOVERY_MS = 50

/** Pause after an error of the store. */
const ERROR_PAUSE_MS = 250

export type LaneLoopDeps = {
  /** The lane as configured now; null: it is no longer configured. */
  lane: () => Lane | null
  laneId: string
  queues: Queues
  /** Holds jobs that do not come from the queue. */
  directDispatch: DirectDispatch
  work: Work
  embeddingCache: EmbeddingCache
  prefixes: PromptPrefixes
  gate: Gate
  files: ExecuteDeps['files']
  putFiles: ExecuteDeps['putFiles']
  /** The adapter of a source of the lane; null: it has none. */
  provider: (source: string | null) => Provider
  calls: RunningCalls
  spool: Pick<Spool, 'put' | 'isRecovering'>
  /** The lane that serves a model's jobs when this lane cannot; null: there is none. */
  successor: (job: Pick<Claimed, 'model' | 'unfitLanes'>) => string | null
  /** Whether this lane has a successor in any route. */
  hasSuccessors: () => boolean
  /** Renews the locks, places and permits of this loop. */
  heartbeat: Pick<Heartbeat, 'hold' | 'drop' | 'holdPermit' | 'dropPermit'>
  /** The locks of entries that were fetched, or known to be ours, longer ago may have ended. */
  lateMs: number
  /** Reports what the lane's entries wait for, when that changes. */
  note: (lane: string, waitingFor: LaneWaitingFor | null) => void
  /** Reports that the gate shut a tier of service other than standard. */
  noteTier: (lane: string, tier: ServiceTier) => void
  /** Unix ms, by Redis' clock. */
  now: () => number
  random: () => number
  onError: (error: unknown, what: string) => void
  events?: ExecuteDeps['events']
}

export type LaneLoop = {
  /** There may be work, or the lane may have opened. */
  wake(): void
  /** True: this lane takes directly dispatched jobs, because no other job waits. */
  isOpen(): boolean
  /** Takes a directly dispatched job. If the lane is not open, the job goes to the queue. */
  offer(held: Held): void
  /** Starts no new calls. Resolves when those under way are stored, or given back once `over` is aborted. */
  stop(over: AbortSignal): Promise<void>
  /** For how long it has held no entry and had no call under way, ms. */
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
 * While the gate is known to be shut the loop fetches nothing, and holds at most one call's worth. A fetched entry's
 * cost is exact, so the gate books what will be sent, and the loop never sends what is not booked.
 */
export function startLaneLoop(deps: LaneLoopDeps): LaneLoop {
  const { gate, heartbeat } = deps
  // The loop's own times are spans, so that setting a clock cannot delay it.
  const now = () => performance.now()
  const waker = createWaker()
  const giveUp = new AbortController()
  const inFlight = new Set<Promise<void>>()
  let lane = deps.lane()
  let hand: Prefetched[] = []
  let ahead = 1
  let wasFull = false
  /** Before this time the queue has nothing due. A hint of new work sets it to 0. */
  let lookAt = 0
  /** How long the loop rests after the next empty look. */
  let idleMs = IDLE_MS
  /** Whether the loop has asked for the next delayed entry since its last look at the queue. */
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

  const entries = createHeldEntries({
    laneId: deps.laneId,
    heartbeat,
    renew: (some) => queue.renew(some),
    lateMs: deps.lateMs,
  })
  const { hold, drop, abandon, stillHeld } = entries
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
  const tierOf = (one: Held) => tierToTake([one], deps.now())
  const shutTiers = createShutTiers({ queue, tierOf, now })
  const handOff = createHandOff({ queue, work: deps.work, successor: deps.successor, abandon, now: deps.now })
  const currentLane = () => lane!
  const executor = createExecutor({
    lane: currentLane,
    queue,
    work: deps.work,
    embeddingCache: deps.embeddingCache,
    prefixes: deps.prefixes,
    gate: gatherSettlements(gate),
    files: deps.files,
    putFiles: deps.putFiles,
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
    // The last look or hint left nothing in the queue: a newer hint would have set `lookAt` to 0.
    const isIdle =
      lookAt !== 0 && hand.length < MOST_AHEAD && now() >= shutUntil && !shutTiers.isStandardShut()
    const current = stopping ? null : deps.lane()
    return isIdle && current !== null && !current.coalesce
  }

  function offer(one: Held): void {
    for (const known of entries.all())
      if (known.placed && known.id === one.id && known.tenant === one.tenant) return
    if (!isOpen()) {
      deps.directDispatch.giveBack(one).catch((error) => deps.onError(error, 'queueing a job'))
      return
    }
    hold(one, performance.now())
    hand.push({ held: one, since: now() })
    waker.wake()
  }

  /** There may be work in the queue. The end of a call does not mean that. */
  function lookAgain(): void {
    lookAt = 0
    idleMs = IDLE_MS
    knowsDue = false
    hints++
    shutTiers.heard()
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

  /** Cached input does not count at Anthropic (Rate limits, "Cache-aware ITPM"): where it is kept warm, it is known before. */
  function cachedOf(current: Lane): (held: Held) => number {
    if (current.promptCache !== 'warm' || current.kind !== 'anthropic') return () => 0
    return ({ cost: { prefix } }) =>
      prefix === undefined ? 0 : deps.prefixes.cachedTokens(current.id, prefix)
  }

  async function step(current: Lane): Promise<void> {
    await fill(current)
    shutTiers.askWhereMany(hand.map((one) => one.held))
    if (now() < shutUntil) return waker.sleep(shutUntil - now())
    if (hand.length === 0) {
      if (shutTiers.isStandardShut()) return waker.sleep(Math.max(1, shutTiers.nextLook(lookAt) - now()))
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

    const free = hand.filter((one) => !shutTiers.holds(one.held))
    const plan = planCalls(free, current, inFlight.size, now(), isProbing, cachedOf(current))
    if (plan.ready.length === 0) {
      const aside = free.length === hand.length ? [] : [shutTiers.nextLook(lookAt)]
      return waker.sleep(Math.max(1, Math.min(plan.readyAt ?? Number.POSITIVE_INFINITY, ...aside) - now()))
    }

    // As they are asked for: an entry may fall back to standard meanwhile.
    const tiers = plan.ready.map((call) => tierToTake(call.held, deps.now()))
    const answer = await gate.take(
      current,
      plan.ready.map((call) => call.cost),
      plan.ready.map((call) => tenantOf(call.held)),
      current.sources === undefined ? [] : plan.ready.map((call) => boundTo(call.held)),
      tiers,
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
    const next = plan.ready[answer.permits.length]
    const tier = tiers[answer.permits.length] ?? STANDARD
    const isOtherTier = answer.otherTiersMay === true && tier !== STANDARD
    wasPaused ||= answer.waitingFor === 'provider_pause' && !isOtherTier
    if (next === undefined) {
      waitFor(null)
      return
    }
    if (answer.never) {
      // The limit was lowered since the API let it in.
      hand = hand.filter((one) => !next.held.includes(one.held))
      return executor.refuse(next)
    }
    // A call that has to wait for its source holds up no others, and says nothing of the other sources' tiers.
    if (isBound(current, next) && answer.waitMs > BOUND_HOLD_MS) {
      hand = hand.filter((one) => !next.held.includes(one.held))
      const putOff = isOtherTier ? [putOffIn(current, answer.waitMs > HOLD_MS)] : []
      return handOff.spill(next.held, deps.now() + answer.waitMs, ...putOff)
    }
    if (isOtherTier) return setAside(current, next.held, tier, answer)
    ahead = Math.max(1, answer.permits.length)
    waitFor(answer.waitingFor)
    const isOfTier = answer.otherTiersMay === true
    const spills = answer.waitMs > PATIENCE_MS && deps.hasSuccessors()
    if (isOfTier && !answer.othersMay && !spills && answer.waitMs > SHORT_MS)
      shutTiers.note(STANDARD, null, answer.waitMs)
    else shutUntil = now() + Math.min(answer.waitMs, IDLE_MS)
    await queueDirect()
    if (answer.othersMay) return makeWay(current, answer.waitMs)
    if (answer.waitingFor !== 'provider_pause') return giveBackSpare(current)
    if (answer.waitMs <= HOLD_MS) return
    const shut = takeHand((one) => !isOfTier || tierOf(one) === STANDARD)
    if (spills) return spill(shut, deps.now() + answer.waitMs)
    lookAt = 0
    await handOff.giveBackInTurn(shut)
  }

  /**
   * The gate keeps this tier shut while others are open: its entries hold up no others. Where it stays shut, they go to the next lane of
   * their route, and those without one are delayed.
   */
  async function setAside(
    current: Lane,
    held: Held[],
    tier: ServiceTier,
    { waitMs, othersMay }: TakeAnswer,
  ): Promise<void> {
    shutTiers.note(tier, (othersMay && tenantOf(held)) || null, waitMs)
    deps.noteTier(deps.laneId, tier)
    const direct = takeHand((one) => one.placed !== null && shutTiers.holds(one))
    if (direct.length > 0) await handOff.giveBack(direct)
    const inHand = hand.map((one) => one.held)
    const { leaving, awayMs, isShut } = shutTiers.chooseLeaving(inHand, tier, waitMs)
    if (leaving.length === 0) return
    takeHand((one) => leaving.includes(one))
    const until = deps.now() + awayMs
    const putOff = putOffIn(current, isShut)
    if (waitMs > PATIENCE_MS && deps.hasSuccessors()) await handOff.spill(leaving, until, putOff)
    else await handOff.delay(leaving, until, putOff)
  }

  function putOffIn(current: Lane, isCounted: boolean): PutOff {
    return (one, until) => putOffEntry(one, current, deps.now(), until, isCounted)
  }

  /**
   * The breaker keeps the next call because of its tenant. Jobs of such tenants are given back, and a job goes first that
   * may show whether the provider works.
   */
  async function makeWay(current: Lane, waitMs: number): Promise<void> {
    const { breaker } = await gate.read(current)
    const kept = new Set([...breaker.heldTenants, ...breaker.triedTenants])
    const blocked = takeHand((one) => kept.has(one.tenant) && tierOf(one) === STANDARD)
    if (waitMs > PATIENCE_MS && deps.hasSuccessors() && blocked.length > 0)
      return spill(blocked, deps.now() + waitMs)
    await handOff.giveBackInTurn(blocked)
    ahead = 1
    lookAt = 0
    const free = hand.filter((one) => !shutTiers.holds(one.held))
    shutUntil = free.some((one) => tierOf(one.held) !== STANDARD) ? 0 : now() + Math.min(waitMs, SEARCH_MS)
    if (free.length === 0 && (await queue.bringForward([...kept], shutTiers.listShut()))) shutUntil = 0
  }

  function waitFor(reason: LaneWaitingFor | null): void {
    waitingFor = reason
    // A busy lane is refused between any two grants: the reason is news only when it changes.
    if (reason !== null && reason !== noted) deps.note(deps.laneId, reason)
    noted = reason ?? noted
  }

  function rest(): void {
    lookAt = now() + idleMs
    idleMs = Math.min(MOST_IDLE_MS, 2 * idleMs)
  }

  /** Fetches up to one call's worth, or as many calls as the gate granted lately. */
  async function fill(current: Lane): Promise<void> {
    // While the gate is shut a coalesced request may still grow, but no other entry would do more than wait here.
    if (now() < shutUntil && !(current.coalesce && hand.length > 0)) return
    while (now() >= lookAt) {
      const found = shutTiers.isStandardShut() ? await shutTiers.search() : null
      if (found === 0) return
      const room = found ?? roomInHand(current)
      if (room <= 0) return
      const asked = found ?? Math.min(room, ahead)
      const since = now()
      const heard = hints
      knowsDue = false
      // One short command instead of a fetch, if the latest look found nothing and no hint came since.
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
      // Ask for as many next time as there were now: one from an empty queue, many from a full one. A single job is no
      // reason to ask for two.
      if (!isFull) ahead = Math.max(1, fetched.length)
      else if (wasFull) ahead = Math.min(MOST_AHEAD, ahead * 2)
      wasFull = isFull
      if (fetched.length > 0) idleMs = IDLE_MS
      if (!isFull && heard === hints) rest()
      if (!isFull || !current.coalesce) return
    }
  }

  function roomInHand(current: Lane): number {
    if (!current.coalesce) return ahead - hand.filter((one) => !shutTiers.holds(one.held)).length
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

  async function acquire(...asked: Parameters<ExecuteDeps['acquire']>): Promise<string> {
    const permit = await acquirePermit(
      { gate, lane: currentLane, isStopping: () => stopping, onError: deps.onError },
      ...asked,
    )
    heartbeat.holdPermit(deps.laneId, permit)
    return permit
  }

  /** For a long pause: jobs that another lane can serve move there, the others are delayed until this lane opens. */
  async function spill(some: Held[], until: number): Promise<void> {
    ahead = MOST_AHEAD
    shutUntil = 0 // the entries after these should go too
    await handOff.spill(some, until)
  }

  /** Directly dispatched jobs that have to wait go to the queue and wait for their turn. */
  async function queueDirect(): Promise<void> {
    const back = takeHand((one) => one.placed !== null)
    if (back.length > 0) await handOff.giveBack(back)
  }

  /** Gives entries back that were prefetched while the lane let everything through and now hold up earlier turns. */
  async function giveBackSpare(current: Lane): Promise<void> {
    // Entries that leave within half a second hold up nobody for long, and giving them back costs as much.
    // Where few calls run at once, and each takes long, a few entries hold up an earlier turn for as many calls.
    const slots = Math.ceil(findSlots(current) / 4)
    const most = Math.max(Math.min(2 * ahead + SPARE_HAND, slots), pace.perSpan())
    if (current.coalesce || hand.length <= most) return
    const kept = Math.min(ahead, most)
    const spare = hand.slice(kept).map((one) => one.held)
    hand = hand.slice(0, kept)
    lookAt = 0
    await handOff.giveBackInTurn(spare)
  }

  async function giveBackHand(): Promise<void> {
    lookAt = 0
    await handOff.giveBackInTurn(takeHand())
  }

  function takeHand(isTaken: (one: Held) => boolean = () => true): Held[] {
    const taken = hand.map((one) => one.held).filter(isTaken)
    hand = hand.filter((one) => !taken.includes(one.held))
    return taken
  }

  const done = run()

  return {
    wake: lookAgain,
    isOpen,
    offer,
    lastTurn: () => turn,
    idleFor: () => (entries.all().length + hand.length + inFlight.size > 0 ? 0 : now() - entries.busyAt()),
    async stop(over) {
      stopping = true
      waker.wake()
      const abort = () => {
        deps.calls.abortAll()
        giveUp.abort()
      }
      if (over.aborted) abort()
      else over.addEventListener('abort', abort, { once: true })
      // Commands on BullMQ's connection wait for Redis without a limit.
      await unlessAborted(over, done)
      const giveBack = giveBackHand().catch((error) => deps.onError(error, 'giving entries back'))
      await unlessAborted(over, giveBack)
      while (inFlight.size > 0) await Promise.allSettled([...inFlight])
      abandon(entries.all())
      await unlessAborted(over, queue.close())
      over.removeEventListener('abort', abort)
    },
  }
}
