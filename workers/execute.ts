import type { Lane } from '../config/lanes.ts'
import type { Claimed } from '../jobs/claim.ts'
import type { AttemptEnd } from '../jobs/finish.ts'
import type { JobError } from '../jobs/job.ts'
import type { LaneQueue } from '../jobs/lane-queue.ts'
import type { PrefixTurn } from '../jobs/prompt-prefixes.ts'
import type { Held } from '../jobs/queue-entry.ts'
import type { Emit } from '../lib/emitter.ts'
import { takesFiles } from '../lib/input-files.ts'
import type { JsonObject } from '../lib/json.ts'
import { createLatest } from '../lib/latest.ts'
import type { Usage } from '../lib/usage.ts'
import { toTokens } from '../providers/count-tokens.ts'
import type { ProviderAnswer } from '../providers/provider.ts'
import type { Cost, LaneWaitingFor } from '../ratelimit/gate.ts'
import { createAfterFailure } from './after-failure.ts'
import type { CallStore } from './call-store.ts'
import { createCapacityBackOff } from './capacity-back-off.ts'
import { createClaim } from './claim-jobs.ts'
import { type ClaimedJob, timeoutOf } from './claimed-job.ts'
import { costOfCut } from './cost-of-cut.ts'
import { createDeliver } from './deliver.ts'
import { type CallEvents, OUTCOMES } from './ended-call.ts'
import type { HeldEntries } from './held-entries.ts'
import type { LaneGate } from './lane-gate.ts'
import { createLiveView } from './live-view.ts'
import { createOpenFile } from './open-file.ts'
import type { Keep } from './persist.ts'
import { boundTo, costOf, type PlannedCall, tenantOf } from './plan.ts'
import { type ProviderCall, prepareCall } from './provider-call.ts'
import type { RunningCalls } from './running-calls.ts'
import type { ServedLane } from './served-lanes.ts'
import { settleCall } from './settle-call.ts'
import { createSourceShuts, findSource, mayMove } from './sources.ts'
import { createThrottlePause, type ThrottlePause } from './throttle-pause.ts'
import { askedTier, decideTier, tierSent, tierToTake } from './tier-of-call.ts'
import { timingOf } from './timing-of-call.ts'

export type ExecuteDeps = {
  lane: ServedLane
  queue: LaneQueue
  /** The entries of the lane that this process holds. */
  entries: Pick<HeldEntries, 'abandon'>
  gate: Pick<LaneGate, 'settle' | 'retry' | 'acquire' | 'release'>
  store: Omit<CallStore, 'isThere'>
  calls: RunningCalls
  keep: Keep
  /** Unix ms, by Redis' clock. */
  now: () => number
  onError: (error: unknown, what: string) => void
  /** Hears how each provider call ended, before the outcome is carried out. */
  events: Emit<CallEvents>
}

type Running = ReturnType<RunningCalls['begin']>

/** The time of the next call at flex is estimated from the latencies of this many. */
const FLEX_CALLS = 50

/**
 * Makes one call that has its permit, from claiming its jobs to acknowledging their entries. Its steps are, from top to
 * bottom: intent, call, settlement, outcome.
 *
 * Never throws. What fails is retried, or found later: entries that were fetched by the stalled check, and jobs that
 * were claimed or started by the sweep of the outbox.
 */
export function createExecutor(deps: ExecuteDeps) {
  const { lane: servedLane, store, gate, calls, now } = deps
  /** By tier and source; a lane without sources has only tiers. */
  const pauses = new Map<string, ThrottlePause>()
  const shuts = createSourceShuts(deps)
  const backOff = createCapacityBackOff(now)
  const flexTimes = createLatest(FLEX_CALLS)
  const claim = createClaim({ ...deps, work: store.work })
  const deliver = createDeliver(deps)
  const { settleJobs, endWith } = createAfterFailure({ ...deps, work: store.work, resend })

  async function execute(call: PlannedCall, permit: string, waitedFor: LaneWaitingFor | null): Promise<void> {
    // The call is listed before the claim, so that a cancel right after the claim finds it.
    const running = calls.begin(call.held)
    // A claim replaces entries by places in the outbox. After an error, both must be released.
    const held = [...call.held]
    try {
      const claimedJobs = await claim(held, waitedFor)
      await carry(claimedJobs, permit, call.cost, running)
    } catch (error) {
      deps.onError(error, 'a call')
      deps.entries.abandon(held)
      await gate.settle(servedLane.current(), [{ permit, actual: null }]).catch(() => {})
    } finally {
      running.end()
      gate.release(permit)
    }
  }

  /** Stores the known answers, and sends the request for the other jobs at the same time. */
  async function carry(claimed: ClaimedJob[], permit: string, taken: Cost, running: Running): Promise<void> {
    const lane = servedLane.current()
    if (claimed.length === 0) return gate.settle(lane, [{ permit, actual: null }])

    const call = await prepareCall(lane, claimed, { ...store, onError: deps.onError })
    for (const { job: claimedJob } of call.known) calls.cancel(claimedJob.held.tenant, claimedJob.held.id)
    const answered = deliver(lane, call.known, null)
    answered.catch(() => {}) // awaited below
    try {
      if (call.body === null) await gate.settle(lane, [{ permit, actual: null }])
      else await send(lane, call, call.body, permit, taken, running)
    } finally {
      await answered
    }
  }

  async function send(
    lane: Lane,
    call: ProviderCall,
    body: JsonObject,
    permit: string,
    taken: Cost,
    running: Running,
  ): Promise<void> {
    const { jobs: claimedJobs } = call
    const first = claimedJobs[0]!.claimed
    const streams = body.stream === true && claimedJobs.length === 1
    const turn = await takePrefixTurn(lane, first, running.signal)
    const view = createLiveView({
      ...{ claimed: claimedJobs.length === 1 ? first : null, body, files: store.files },
      ...{ putFiles: store.heldFiles.put, write: store.work.stream },
      ...{ onError: deps.onError, now: () => performance.now() },
      onFirst: () => turn?.answered(),
    })
    let stated: Usage | null = null

    const source = findSource(lane, permit)
    const startedAt = now()
    const {
      tier,
      isCut = false,
      timeoutMs = timeoutOf(lane, claimedJobs),
      ...asks
    } = decideTier(lane, claimedJobs, startedAt, flexTimes.mostly())
    // Otherwise the attempt says which tier it had, because its intent may name another one.
    const isPlain = first.cost.tier !== 'auto' && tier === askedTier([claimedJobs[0]!.held], startedAt)
    const attemptTier = isPlain ? {} : { tier }
    const since = performance.now()
    const elapsed = () => Math.round(performance.now() - since)
    let answer: ProviderAnswer
    try {
      answer = await servedLane.provider(source?.name ?? null).call({
        type: first.type,
        model: source?.model ?? lane.model,
        body,
        ...asks,
        signal: view.useless === null ? running.signal : AbortSignal.any([running.signal, view.useless]),
        timeoutMs,
        ...(takesFiles(first.type) ? { openFile: createOpenFile(store.files, first.tenant) } : {}),
        onUsage: (usage) => {
          stated = usage
        },
        ...view.hooks,
      })
    } finally {
      running.end()
    }
    const latencyMs = elapsed()
    const firstChunkMs = view.seen.firstAt === null ? null : Math.round(view.seen.firstAt - since)
    const receivedBytes = view.seen.bytes
    if (answer.ok) {
      turn?.answered()
      turn?.learn(answer.usage?.cached_input_tokens ?? 0)
    } else turn?.failed()
    if (answer.ok && tier === 'flex') flexTimes.add(latencyMs)
    const serviceTier = tierSent({ tier, ...asks }, body)
    answer = backOff(pauseOf(`${serviceTier} ${source?.name ?? ''}`)(answer), serviceTier === 'flex')
    if (source !== null && mayMove(lane)) shuts.note(lane, source.name, answer)
    const attempt = { ...attemptTier, ...(source === null ? {} : { source: source.name }) }

    const timing = (source ?? lane).limits.isAdaptive
      ? timingOf(answer, { latencyMs, firstTokenMs: streams ? firstChunkMs : null, receivedBytes })
      : null
    const isPatient = !isCut && timeoutOf(lane, claimedJobs) >= lane.timeout
    const settled = settleCall(deps, lane, permit, answer, {
      taken,
      call,
      timing,
      isPatient,
      tier: serviceTier,
    })
    const partials = await view.flush()
    deps.events.emit('call.ended', {
      lane: lane.id,
      jobs: claimedJobs.length,
      outcome: answer.ok ? 'completed' : OUTCOMES[answer.class],
      latencyMs,
      firstChunkMs,
      startedAt,
      source: source?.name ?? null,
      claimed: claimedJobs.map((one) => one.claimed),
      body,
      answer,
    })
    if (answer.ok) {
      await deliver(
        lane,
        call.split(answer).map((one) => ({ ...one, partials })),
        {
          outcome: 'completed',
          ...attempt,
          latency_ms: latencyMs,
          status: answer.status,
        },
      )
    } else {
      const end: AttemptEnd = {
        outcome: OUTCOMES[answer.class],
        ...attempt,
        latency_ms: latencyMs,
        status: answer.status,
        error_code: answer.code,
        ambiguous: answer.ambiguous,
      }
      const abortReason: unknown = running.signal.reason
      const received = toTokens(receivedBytes)
      const costs = costOfCut(lane, claimedJobs, { failure: answer, body, stated, received, streams })
      await settleJobs(lane, claimedJobs, {
        failure: answer,
        end,
        costs,
        isShown: view.seen.isShown,
        abortReason,
        isOutOfTime: isCut && answer.class === 'timeout',
      })
    }
    await view.end()
    await settled
  }

  function pauseOf(key: string): ThrottlePause {
    const known = pauses.get(key) ?? createThrottlePause(now)
    pauses.set(key, known)
    return known
  }

  /** Waits while another call with this prefix goes first; null: there is nothing to wait for. */
  async function takePrefixTurn(
    lane: Lane,
    { cost: { prefix } }: Claimed,
    signal: AbortSignal,
  ): Promise<PrefixTurn | null> {
    return prefix === undefined || lane.promptCache !== 'warm'
      ? null
      : store.prefixes.enter(lane.id, prefix, signal)
  }

  /** Sends held entries again, under a new permit. */
  async function resend(held: Held[]): Promise<void> {
    const cost = costOf(held)
    const permit = await gate.acquire({
      cost,
      tenant: tenantOf(held),
      source: boundTo(held),
      tier: tierToTake(held, now()),
    })
    await execute({ held, cost }, permit, 'requests')
  }

  /** Fails the jobs of a call that is larger than its lane can ever admit. No call is made. */
  async function refuse(call: PlannedCall): Promise<void> {
    const lane = servedLane.current()
    const error: JobError = {
      code: 'exceeds_limit',
      message: `The request needs ${call.cost.tokens} tokens, more than ${lane.id} admits in ${lane.limits.window / 1000} s.`,
      provider_status: null,
      retryable: false,
    }
    for (const { held, claimed } of await claim(call.held, null)) {
      await endWith(held, claimed, { outcome: 'failed', latency_ms: 0, error_code: error.code }, error)
    }
  }

  return { execute, refuse }
}
