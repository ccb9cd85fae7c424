import type { Lane } from '../config/lanes.ts'
import type { JobError } from '../jobs/job.ts'
import type { Held, LaneQueue } from '../jobs/queue.ts'
import type { AttemptEnd, Claimed, Completion, Retry, Work } from '../jobs/work.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import { priceUsage, settledTokens } from '../providers/accounting.ts'
import { mergeBodies, normalizeInputs, splitAnswer } from '../providers/embeddings.ts'
import type {
  Provider,
  ProviderAnswer,
  ProviderFailure,
  ProviderSuccess,
  Usage,
} from '../providers/provider.ts'
import type { Cost, Gate, LaneWaitingFor } from '../ratelimit/gate.ts'
import { createDeltaWriter } from './delta-writer.ts'
import { decide, judgeAnswer, pauseAfter, toJobError } from './outcome.ts'
import { persist } from './persist.ts'
import { type Call, costOf } from './plan.ts'
import type { RunningCalls } from './running-calls.ts'
import { spreadRetries } from './spread-retries.ts'

export type ExecuteDeps = {
  lane: () => Lane
  queue: LaneQueue
  work: Work
  gate: Gate
  provider: () => Provider
  calls: RunningCalls
  now: () => number
  random: () => number
  /** Aborted when the process has to go, whatever is left. */
  signal: AbortSignal
  onError: (error: unknown, what: string) => void
  /** The next lane of a route that this lane is part of; null: there is none. */
  successor: (model: string) => string | null
  /** Resolves with a permit for one more request: the halves of a rejected one. */
  acquire: (cost: Cost) => Promise<string>
  /** These entries are no more renewed here: their locks run out, and whoever finds them goes on. */
  abandon: (held: Held[]) => void
  /** The permit is settled. */
  release: (permit: string) => void
  /** Tells how each provider call ended. */
  onCall?: (call: { lane: string; jobs: number; outcome: AttemptEnd['outcome']; latencyMs: number }) => void
}

/** A held entry with what was claimed for it. */
type Passenger = { held: Held; claimed: Claimed }

/**
 * Carries one permitted call out, from claiming its jobs to acknowledging their entries. Reads from top to bottom
 * as the way of a call: intent, call, settlement, outcome. Never throws: what fails is retried or left to the
 * stalled check, which finds every entry that was not acknowledged.
 */
export function createExecutor(deps: ExecuteDeps) {
  const { queue, work, gate, calls, now, random } = deps
  const keep = <T>(write: () => Promise<T>, what: string) =>
    persist(write, { signal: deps.signal, onError: (error) => deps.onError(error, what) })

  async function execute(call: Call, permit: string, waitedFor: LaneWaitingFor | null): Promise<void> {
    // Before the claim, so that a cancel which comes right after it finds the call.
    const running = calls.begin(call.held)
    try {
      const passengers = await claim(call.held, waitedFor)
      await send(passengers, permit, call.cost, running)
    } catch (error) {
      deps.onError(error, 'a call')
      deps.abandon(call.held)
      await gate.settle(deps.lane(), [{ permit, actual: null }]).catch(() => {})
    } finally {
      running.end()
      deps.release(permit)
    }
  }

  /** Writes the intents and sorts out the entries that need no call. */
  async function claim(held: Held[], waitedFor: LaneWaitingFor | null): Promise<Passenger[]> {
    const { provider, model } = deps.lane()
    const intent = { provider, model, coalesced: held.length, waitedFor }
    const started = await keep(() => work.start(held, intent), 'claiming')
    const passengers: Passenger[] = []
    const others: Promise<void>[] = []
    for (const [index, answer] of started.entries()) {
      const one = held[index]!
      if (answer.kind === 'run') {
        passengers.push({ held: one, claimed: answer.claimed })
        continue
      }
      calls.cancel(one.tenant, one.id) // it does not travel with the others
      const { kind } = answer
      const leave = kind === 'wait' ? () => queue.delay(one, answer.at) : () => queue.acknowledge(one)
      others.push(keep(leave, 'putting an entry back'))
    }
    await Promise.all(others)
    return passengers
  }

  async function send(
    passengers: Passenger[],
    permit: string,
    taken: Cost,
    running: ReturnType<RunningCalls['begin']>,
  ): Promise<void> {
    const lane = deps.lane()
    if (passengers.length === 0) return gate.settle(lane, [{ permit, actual: null }])

    const first = passengers[0]!.claimed
    const embeds =
      first.type === 'embedding' && passengers.every((one) => normalizeInputs(one.claimed.body) !== null)
    const body = embeds ? mergeBodies(passengers.map((one) => one.claimed.body)) : first.body
    const streams = first.body.stream === true && passengers.length === 1
    const useless = new AbortController()
    const deltas = createDeltaWriter({
      write: (chunks) => work.stream(first, chunks),
      onUseless: () => useless.abort('cancelled'),
      onError: (error) => deps.onError(error, 'streaming'),
    })

    let isShown = false
    const onDelta = (chunk: JsonValue) => {
      isShown = first.isShownLive
      deltas.push(chunk)
    }

    const startedAt = now()
    let answer: ProviderAnswer
    try {
      answer = await deps.provider().call({
        type: first.type,
        model: lane.model,
        body,
        signal: AbortSignal.any([running.signal, useless.signal]),
        timeoutMs: timeoutOf(lane, passengers),
        ...(streams ? { onDelta } : {}),
      })
    } finally {
      running.end()
    }
    const latencyMs = now() - startedAt

    const settled = settle(lane, permit, answer, taken, passengers)
    await deltas.flush()
    if (answer.ok) await succeed(lane, passengers, answer, latencyMs, embeds)
    else await failed(lane, passengers, answer, latencyMs, { isShown, abortReason: running.signal.reason })
    await settled
  }

  /** Books what the provider counts, frees the permit, and passes on what the answer said of the limits. */
  async function settle(
    lane: Lane,
    permit: string,
    answer: ProviderAnswer,
    taken: Cost,
    passengers: Passenger[],
  ): Promise<void> {
    // Refused connections never reached the provider; everything else counts there.
    const sent = answer.ok || answer.status !== null || answer.ambiguous
    const estimate = taken.tokens > 0 ? taken : costOf(passengers.map((one) => one.held))
    const tokens = settledTokens(lane.kind, estimate, answer.ok ? answer.usage : null, sent)
    const throttled = !answer.ok && answer.class === 'throttled'
    try {
      await gate.settle(lane, [
        {
          permit,
          actual: sent ? { requests: 1, ...tokens } : null,
          feedback: answer.feedback,
          outcome: judgeAnswer(answer, timeoutOf(lane, passengers) >= lane.timeout),
          ...(throttled ? { throttledMs: pauseAfter(answer), throttledReason: answer.code } : {}),
        },
      ])
    } catch (error) {
      deps.onError(error, 'settling a permit') // its lease ends by itself
    }
  }

  async function succeed(
    lane: Lane,
    passengers: Passenger[],
    answer: ProviderSuccess,
    latencyMs: number,
    embeds: boolean,
  ): Promise<void> {
    const results = embeds ? shareOut(answer.body, passengers) : [answer.body]
    const completions: Completion[] = passengers.map(({ claimed }, index) => {
      const result = results[index]!
      const usage = embeds ? usageOf(result) : answer.usage
      const costUsd = usage ? priceUsage(lane.price, usage) : 0
      const end: AttemptEnd = {
        outcome: 'completed',
        latency_ms: latencyMs,
        status: answer.status,
        usage,
        cost_usd: costUsd,
      }
      return { claimed, end, result, usage, costUsd }
    })
    // The order matters: a stored result is never bought again, an unacknowledged entry is merely looked at again.
    await keep(() => work.complete(completions), 'storing results')
    await keep(() => Promise.all(passengers.map((one) => queue.acknowledge(one.held))), 'acknowledging')
    deps.onCall?.({ lane: lane.id, jobs: passengers.length, outcome: 'completed', latencyMs })
  }

  async function failed(
    lane: Lane,
    passengers: Passenger[],
    failure: ProviderFailure,
    latencyMs: number,
    { isShown, abortReason }: { isShown: boolean; abortReason: unknown },
  ): Promise<void> {
    const outcomes: Record<ProviderFailure['class'], AttemptEnd['outcome']> = {
      throttled: 'throttled',
      retryable: 'retryable',
      timeout: 'timeout',
      final: 'failed',
      aborted: 'aborted',
    }
    const end: AttemptEnd = {
      outcome: outcomes[failure.class],
      latency_ms: latencyMs,
      status: failure.status,
      error_code: failure.code,
      ambiguous: failure.ambiguous,
    }
    deps.onCall?.({ lane: lane.id, jobs: passengers.length, outcome: end.outcome, latencyMs })
    if (failure.input && passengers.length > 1) return split(passengers, end)
    if (isShown) {
      const { held, claimed } = passengers[0]!
      const mayRetry = failure.class !== 'final'
      return endWith(held, claimed, end, toJobError(failure, mayRetry), mayRetry)
    }

    const at = now()
    const chance = random() // the same for all, so that those that travelled together go again together
    const decided = passengers.map(({ claimed }) =>
      decide(failure, claimed, lane.retry, at, () => chance, deps.successor(claimed.model)),
    )
    const spread = await spreadRetries(decided, (count) =>
      gate.retry(lane, count).catch((error) => {
        deps.onError(error, 'booking retries')
        return []
      }),
    )

    await Promise.all(
      passengers.map(async ({ held, claimed }, index) => {
        const outcome = spread[index]!
        switch (outcome.kind) {
          case 'failed':
            return endWith(held, claimed, end, outcome.error)
          case 'retry':
          case 'throttled':
            return putBack(held, claimed, end, {
              at: outcome.at,
              countsAsAttempt: outcome.kind === 'retry',
              reason: outcome.reason,
              waitingFor: outcome.waitingFor,
            })
          case 'rerouted':
            return putBack(held, claimed, end, {
              at: now(),
              countsAsAttempt: false,
              reason: outcome.reason,
              waitingFor: 'retry_delay',
              lane: outcome.lane,
            })
          case 'released':
            return putBack(held, claimed, end, {
              at: now(),
              countsAsAttempt: false,
              reason: String(abortReason ?? 'aborted'),
              waitingFor: 'retry_delay',
            })
        }
      }),
    )
  }

  /** `own`: the failure is this job's alone, and others that wait for the same go on without it. */
  async function endWith(
    held: Held,
    claimed: Claimed,
    end: AttemptEnd,
    error: JobError,
    own = false,
  ): Promise<void> {
    await keep(() => work.fail(claimed, end, error, own), 'storing a failure')
    await keep(() => queue.acknowledge(held), 'acknowledging')
  }

  async function putBack(held: Held, claimed: Claimed, end: AttemptEnd, next: Retry): Promise<void> {
    const waits = await keep(() => work.retry(claimed, end, next), 'storing a retry')
    await keep(() => (waits ? queue.delay(held, next.at) : queue.acknowledge(held)), 'putting an entry back')
  }

  /**
   * The provider rejected a request for what one of its inputs holds, and does not say which: each half goes again
   * by itself, until only the bad input's job is left to fail. That takes at most 2·log₂(n) further requests for
   * one bad input among n.
   */
  async function split(passengers: Passenger[], end: AttemptEnd): Promise<void> {
    const again: Held[] = []
    await Promise.all(
      passengers.map(async ({ held, claimed }) => {
        const next: Retry = {
          at: 0,
          countsAsAttempt: false,
          reason: 'input_rejected',
          waitingFor: 'requests',
        }
        const goesOn = await keep(() => work.retry(claimed, end, next), 'splitting a request')
        if (goesOn) again.push(held)
        else await keep(() => queue.acknowledge(held), 'acknowledging')
      }),
    )
    const middle = Math.ceil(again.length / 2)
    const order = new Map(passengers.map((one, index) => [one.held, index]))
    again.sort((a, b) => order.get(a)! - order.get(b)!)
    const halves = [again.slice(0, middle), again.slice(middle)].filter((half) => half.length > 0)
    await Promise.all(
      halves.map(async (held) => {
        const cost = costOf(held)
        const permit = await deps.acquire(cost)
        await execute({ held, cost }, permit, 'requests')
      }),
    )
  }

  /** Fails the jobs of a call that is larger than its lane can ever admit; no call is made. */
  async function refuse(call: Call): Promise<void> {
    const lane = deps.lane()
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

function timeoutOf(lane: Lane, passengers: Passenger[]): number {
  return Math.max(...passengers.map((one) => one.claimed.timeoutMs || lane.timeout))
}

function shareOut(body: JsonObject, passengers: Passenger[]): JsonObject[] {
  const costs = passengers.map((one) => one.claimed.cost)
  return splitAnswer(
    body,
    passengers.map((one) => normalizeInputs(one.claimed.body)!.length),
    costs.map((cost) => cost.inputTokens),
  )
}

function usageOf(result: JsonObject): Usage | null {
  const usage = result.usage as { prompt_tokens?: number; total_tokens?: number } | undefined
  if (!usage || typeof usage.prompt_tokens !== 'number') return null
  return {
    input_tokens: usage.prompt_tokens,
    output_tokens: 0,
    total_tokens: usage.total_tokens ?? usage.prompt_tokens,
  }
}
