import { longWorkTurn } from '../lib/breathe.ts'
import type { Emit } from '../lib/emitter.ts'
import { readIdTime } from '../lib/job-id.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import { hasLargeSource } from '../lib/json-source.ts'
import type { RedisClient } from '../lib/redis.ts'
import { UnreadableError } from '../lib/sealer.ts'
import { type AtRest, toUndecryptable } from './at-rest.ts'
import { USUAL_STATUS } from './attempts.ts'
import { encodeFairKeyLimits, type FairKeyLimits } from './fair-key.ts'
import { gatherCalls } from './gather-calls.ts'
import type { Incident } from './incidents.ts'
import type { Attempt, CacheOutcome, JobError, JobType, Tier, Usage, WaitingFor } from './job.ts'
import type { JobCost } from './jobs.ts'
import { tenantRoot } from './keys.ts'
import { encodeEstimate, type MoneyEstimate } from './money.ts'
import type { Outbox } from './outbox.ts'
import { createProviderState } from './provider-state.ts'
import type { Held } from './queue.ts'
import { costOf, type JobRecord, numberOf, type StoredUsage, textOf, toRecord } from './record.ts'
import type { Argument, Scripts } from './scripts.ts'

/** Most jobs that one script claims: that blocks Redis for a millisecond. */
const MOST_CLAIMED = 16

/** Most outcomes that one script stores, and most bytes of their results together. */
const MOST_STORED = 16
const MOST_STORED_BYTES = 256 * 1024

/** Calls of one job that may be lost with their workers before it is quarantined. */
const MOST_LOST = 3

/**
 * For this long a job is requeued, ms, if its body is encrypted with a key that this process does not know yet. Only a new
 * job can be encrypted with a new key.
 */
const NEW_KEY_MS = 10 * 60_000
const NEW_KEY_PAUSE_MS = 5000

/** What is known about a call before it is sent. */
export type Intent = {
  provider: string
  model: string
  coalesced: number
  waitedFor: WaitingFor | null
  /** The tier of service that its jobs ask for; absent: standard. */
  tier?: Tier
  /** Expected cost of a job's call on this lane, for jobs that count against a budget; null: as reserved. */
  estimate?: (cost: JobCost) => MoneyEstimate | null
}

/** A job claimed for one call. */
export type Claimed = {
  tenant: string
  id: string
  /** The lane of the call. */
  lane: string
  /** Number of the call within its job. When it stores an outcome it must still be the latest. */
  call: number
  /** Calls that count against `maxAttempts`, this one included. */
  attempts: number
  maxAttempts: number
  /** From the time when it could have started to this claim. */
  waitedMs: number
  /** When its first call was claimed, Unix ms. */
  firstStartedAt: number
  timeoutMs: number
  type: JobType
  /** As the client named it: a lane or an alias of several. */
  model: string
  /** See NewJob. */
  unfitLanes: string[]
  hash: string
  cacheMode: string
  /** See NewJob. */
  isShownLive: boolean
  /** See NewJob; null where the job has none. */
  requestId: string | null
  trace: string | null
  /** The batch of the provider that it is a line of, and when it was claimed for that, Unix ms; absent: it is called. */
  providerBatch?: { id: string; since: number }
  body: JsonObject
  cost: JobCost
  /** What was reserved for the call, USD; null: nothing. */
  reservedUsd: number | null
}

export type Started =
  | { kind: 'run'; claimed: Claimed }
  /** Not due before this Unix time in ms. */
  | { kind: 'wait'; at: number }
  /** There is nothing to do for this entry. */
  | { kind: 'done' }

/** How a call ended, for the record. */
export type AttemptEnd = {
  outcome: Exclude<Attempt['outcome'], 'running' | 'lost'>
  latency_ms: number
  status?: number | null
  error_code?: string
  usage?: Usage | null
  /** The source of the lane that was called; absent: the lane has none. */
  source?: string
  /** The tier of service that the call asked for, where it is not the one that its intent says. */
  tier?: Tier
  /** The one that its answer names; absent: standard. */
  served_tier?: string
  usage_is_estimate?: true
  /** Absent: not known, or none. */
  cost_usd?: number
  cost_is_estimate?: true
  ambiguous?: boolean
}

export type Completion = {
  claimed: Claimed
  /** Null: no call was made for the job, and the attempt does not count. */
  end: AttemptEnd | null
  result: JsonObject
  usage: Usage | null
  /** Null: not known. */
  costUsd: number | null
  /** The tier of service that the answer names; absent: standard. */
  servedTier?: string
  /** What the provider's prompt cache saved; absent: nothing. */
  savedUsd?: number
  /** True: the provider did not report all of the usage. */
  isEstimate?: boolean
  /** Where the answer came from, when the record does not say so already. */
  cache?: CacheOutcome
  /** Longest time to cache the answer, ms, because it contains cached answers. */
  leftMs?: number
  /** What the result consists of besides its text, stored with it. */
  files?: readonly ResultFile[]
  /** Files of its chunks, which are stored already and go with it. */
  partials?: readonly string[]
}

/** Bytes that a result names by the id of a file. */
export type ResultFile = { id: string; filename: string; bytes: Uint8Array }

/** A result in the form in which the store keeps it. Any process can store it. */
export type Finish = { tenant: string; id: string; args: Argument[]; files?: readonly ResultFile[] }

/** The workers' side of the job store. Every method is idempotent; all throw when Redis is unavailable. */
export type Work = {
  /** Claims fetched entries in one round trip; answers in their order. */
  start(held: Held[], intent: Intent): Promise<Started[]>
  /** Reads again what `start` claimed under these tokens; done: the job is over, or another call has it. */
  resume(held: Held[]): Promise<Started[]>
  /** Stores results and ends the jobs and their followers. */
  complete(completions: Completion[]): Promise<void>
  /** What `complete` sends. If this process dies first, another one sends it with `restore`. */
  encode(completions: Completion[]): Finish[]
  restore(finishes: Finish[]): Promise<void>
  /** Fails a job. `own`: only this job failed; its followers go on without it. */
  fail(claimed: Claimed, end: AttemptEnd, error: JobError, own: boolean): Promise<void>
  /** Requeues the job. False: it ended or moved, and no longer needs this entry. */
  requeue(claimed: Omit<Claimed, 'body'>, end: AttemptEnd, next: Retry): Promise<boolean>
  /** The models that the clients of waiting entries named, in their order; null for a deleted job. */
  models(held: Held[]): Promise<(Pick<Claimed, 'model' | 'unfitLanes'> | null)[]>
  /** Moves a waiting job to another lane. Its entry here is no longer needed, even if the job does not move. */
  reroute(held: Held, lane: string): Promise<void>
  /** Moves a job that waits for a provider batch to its lane's queue. */
  leaveBatch(job: Pick<Held, 'tenant' | 'id' | 'entry'>): Promise<void>
  /** Appends chunks of the stream. False: the job ended or runs elsewhere, and the call is useless. */
  stream(claimed: Claimed, chunks: JsonValue[]): Promise<boolean>
}

/** `lane`: another lane that serves the job from now on. */
export type Retry = {
  lane?: string
  /** For this long the worker keeps the job and sends it again itself; without it the job is queued. */
  heldForMs?: number
  at: number
  countsAsAttempt: boolean
  reason: string
  waitingFor: WaitingFor
  /** The slower way that it no longer goes: a provider's batch, or flex. */
  leaves?: 'gather' | 'flex'
}

/** Events of a worker's jobs, emitted once the store has the change. */
export type WorkEvents = {
  /** Claimed for a call. */
  'job.claimed': { claimed: Claimed; waitedFor: WaitingFor | null }
  'job.completed': Completion
  /** Failed by a call, or without a call because of its record. */
  'job.failed': { claimed: Omit<Claimed, 'body'>; end: AttemptEnd; error: JobError }
  /** Requeued after a call. `waits`: in this lane; false: it moved to `next.lane`, or had ended. */
  'job.requeued': { claimed: Omit<Claimed, 'body'>; end: AttemptEnd; next: Retry; waits: boolean }
  'job.incident': Incident
}

/** Index of the result, or of the error, among the arguments of finish.lua, and their number. */
const RESULT = 7
const FINISH_ARGUMENTS = 13

function sizeOf(argument: Argument): number {
  return typeof argument === 'number' ? 0 : argument.length
}

/** The end of a call that completes its job, without the usual status and without a usage equal to the job's. */
function shorten(end: AttemptEnd, usage: Usage | null): object {
  const { status, usage: own, ...rest } = end
  return {
    ...rest,
    ...(status === USUAL_STATUS ? {} : { status: status ?? null }),
    ...(JSON.stringify(own ?? null) === JSON.stringify(usage) ? {} : { usage: own }),
  }
}

function toStored(usage: Usage, isEstimate = false, tier?: string, savedUsd?: number): StoredUsage {
  return {
    ...usage,
    ...(isEstimate ? { is_estimate: true } : {}),
    ...(tier === undefined ? {} : { tier }),
    ...(savedUsd === undefined ? {} : { saved_nano: Math.round(savedUsd * 1e9) }),
  }
}

/** What finish.lua answers for a job. */
type FinishAnswer = [kind: Buffer, left: number, promoted: Buffer]

export function createWork(deps: {
  redis: RedisClient
  scripts: Scripts
  outbox: Outbox
  prefix: string
  atRest: AtRest
  settings: () => { retainMs: number; cacheTtlMs: number; cacheMaxBytes: number }
  /** USD a UTC day; null: no limit. Without it none has one. */
  budgetOf?: (tenant: string) => number | null
  /** Stores files of results, which nobody holds until the results are stored. Again: the same files. */
  putFiles: (tenant: string, files: readonly ResultFile[]) => Promise<void>
  /** What each fair key of the tenant may have; null: no limits. Without it none has any. */
  fairKeyLimitsOf?: (tenant: string) => FairKeyLimits | null
  now: () => number
  events?: Emit<WorkEvents>
}): Work {
  const { redis, scripts, outbox, prefix, atRest, settings, now } = deps
  const rootOf = (tenant: string) => tenantRoot(prefix, tenant)
  const providerState = createProviderState({ redis, root: rootOf })

  type Budget = { budget: number | ''; expected: string }

  /** The tenant's budget of a UTC day ('' none), and the expected cost of the call: the store knows which further budgets the job has. */
  function budgetFor({ tenant, cost }: Held, { provider, model, estimate }: Intent): Budget {
    const budget = deps.budgetOf?.(tenant) ?? null
    const money = estimate?.(cost) ?? null
    return {
      budget: budget ?? '',
      expected: money === null ? '' : encodeEstimate(`${provider}/${model}`, money),
    }
  }

  /** The limits of the tenant's fair keys, for a job that has one. */
  function fairLimitsFor({ tenant, cost }: Held): string {
    const limits = cost.fairKey === undefined ? null : (deps.fairKeyLimitsOf?.(tenant) ?? null)
    return limits === null ? '' : encodeFairKeyLimits(limits)
  }

  type Claim = { held: Held; members: string } & Budget
  /** One script for each tenant claims the calls that leave together. */
  const claim = gatherCalls({
    keyOf: ({ held, members, budget }: Claim) => `${held.tenant} ${held.leaseMs} ${budget} ${members}`,
    async run(claims) {
      const { held, members, budget } = claims[0]!
      const limits = claims.map((one) => fairLimitsFor(one.held)).find((one) => one !== '') ?? ''
      const args: Argument[] = [members, settings().retainMs, MOST_LOST, held.leaseMs, budget, limits]
      for (const { held, expected } of claims) {
        args.push(held.id, held.entry, held.token, expected, held.isDirect ? '1' : '')
      }
      return (await scripts.run('start', rootOf(held.tenant), args)) as [Buffer, ...unknown[]][]
    },
    most: MOST_CLAIMED,
    within: 'tick',
  })

  /** Stores an outcome. One script stores those that arrive in one turn of the event loop, from several sockets. */
  const store = gatherCalls({
    keyOf: ({ tenant }: Pick<Finish, 'tenant' | 'args'>) => tenant,
    run: async (finishes) =>
      (await scripts.run(
        'finish',
        rootOf(finishes[0]!.tenant),
        finishes.flatMap(({ args }) => args),
      )) as FinishAnswer[],
    most: MOST_STORED,
    size: { of: ({ args }) => sizeOf(args[RESULT]!), most: MOST_STORED_BYTES },
    within: 'turn',
  })

  /** Continues where the finish script stopped. */
  async function finishFollowers(
    claimed: Pick<Claimed, 'tenant' | 'id'>,
    args: Argument[],
    answer: FinishAnswer,
  ): Promise<void> {
    const root = rootOf(claimed.tenant)
    let [kind, left, promoted] = answer
    await outbox.dispatchById(claimed.tenant, promoted.toString())
    while (left > 0) {
      if (kind.toString() === 'carried') {
        // The job's record has no result to give to followers. The cost of the call is booked once.
        ;[kind, left, promoted] = await store({ tenant: claimed.tenant, args })
      } else {
        left = (await scripts.run('finish-followers', root, [claimed.id, settings().retainMs])) as number
      }
    }
  }

  function encode(completions: Completion[]): Finish[] {
    const { retainMs, cacheTtlMs, cacheMaxBytes } = settings()
    return completions.map(
      ({
        claimed,
        end,
        result,
        usage,
        costUsd,
        servedTier,
        savedUsd,
        isEstimate,
        cache,
        leftMs,
        files,
        partials,
      }) => {
        const { tenant, id, hash } = claimed
        const stored = atRest.sealResult(rootOf(tenant), id, hash, result)
        const ttlMs = Math.min(cacheTtlMs, leftMs ?? cacheTtlMs)
        const ttl = claimed.cacheMode === 'off' || Buffer.byteLength(stored) > cacheMaxBytes ? 0 : ttlMs
        const args = [
          claimed.id,
          claimed.call,
          'completed',
          claimed.hash,
          retainMs,
          end ? JSON.stringify(shorten(end, usage)) : '',
          ttl,
          stored,
          usage ? JSON.stringify(toStored(usage, isEstimate, servedTier, savedUsd)) : '',
          costUsd ?? '',
          cache ?? '',
          isEstimate ? '1' : '',
          [...(files ?? []).map((file) => file.id), ...(partials ?? [])].join(' '),
        ]
        return { tenant: claimed.tenant, id: claimed.id, args, ...(files?.length ? { files } : {}) }
      },
    )
  }

  const isStoredByProvider = ({ claimed, result }: Completion) =>
    claimed.type === 'chat' && claimed.body.store === true && typeof result.id === 'string'

  async function rememberStored(completions: readonly Completion[]): Promise<void> {
    for (const { claimed, result } of completions) {
      const provider = claimed.lane.slice(0, claimed.lane.indexOf('/'))
      await providerState.remember(claimed.tenant, String(result.id), provider)
    }
  }

  /** The files first: a job that is completed has them. */
  async function storeOne({ tenant, args, files }: Finish): Promise<FinishAnswer> {
    if (files !== undefined) await deps.putFiles(tenant, files)
    // What an earlier release left on disk has none.
    return store({ tenant, args: args.length < FINISH_ARGUMENTS ? [...args, ''] : args })
  }

  async function restore(finishes: Finish[]): Promise<void> {
    const answers = await Promise.all(finishes.map(storeOne))
    for (const [index, finish] of finishes.entries()) {
      await finishFollowers(finish, finish.args, answers[index]!)
    }
  }

  /** Fails a job whose body cannot be decrypted, or requeues it while that may still change. */
  async function leaveUnread(claimed: Omit<Claimed, 'body'>, error: UnreadableError): Promise<Started> {
    const failed = toUndecryptable(error)
    const end: AttemptEnd = { outcome: 'failed', latency_ms: 0, error_code: failed.code }
    const at = now() + NEW_KEY_PAUSE_MS
    if (error.missingKey === null || at > readIdTime(claimed.id) + NEW_KEY_MS) {
      atRest.onUnreadable(error, claimed.id)
      // Jobs that share its call each have a body of their own.
      await fail(claimed, end, failed, true)
      return { kind: 'done' }
    }
    const next: Retry = { at, countsAsAttempt: false, reason: failed.code, waitingFor: 'retry_delay' }
    return (await requeue(claimed, end, next)) ? { kind: 'wait', at } : { kind: 'done' }
  }

  async function fail(
    claimed: Omit<Claimed, 'body'>,
    end: AttemptEnd,
    error: JobError,
    own: boolean,
  ): Promise<void> {
    const { tenant, id, call, hash } = claimed
    const args = [
      id,
      call,
      'failed',
      hash,
      settings().retainMs,
      JSON.stringify(end),
      0,
      atRest.sealError(rootOf(tenant), id, error),
      own ? '1' : '0',
      end.cost_usd ?? 0,
      '',
      end.cost_is_estimate ? '1' : '',
      '',
    ]
    await finishFollowers({ tenant, id }, args, await store({ tenant, args }))
    deps.events?.emit('job.failed', { claimed, end, error })
  }

  async function requeue(claimed: Omit<Claimed, 'body'>, end: AttemptEnd, next: Retry): Promise<boolean> {
    const { tenant, id, call } = claimed
    const answer = await scripts.run('requeue', rootOf(tenant), [
      id,
      call,
      Math.round(next.at),
      next.countsAsAttempt ? '1' : '0',
      next.reason,
      next.waitingFor,
      JSON.stringify(end),
      next.lane ?? '',
      end.cost_usd ?? 0,
      end.cost_is_estimate ? '1' : '',
      next.heldForMs ?? 0,
      next.leaves ?? '',
    ])
    const [kept, promoted] = answer as [number, Buffer]
    await outbox.dispatchById(tenant, kept === 2 ? id : promoted.toString())
    const waits = kept === 1
    deps.events?.emit('job.requeued', { claimed, end, next, waits })
    return waits
  }

  return {
    fail,
    requeue,

    async resume(held) {
      // No script that finds a claim under its token writes an intent.
      const claims = held.map((one) => claim({ held: one, members: '', budget: '', expected: '' }))
      return (await Promise.all(claims)).map((answer, index): Started => {
        const [kind, ...rest] = answer
        const one = held[index]!
        if (kind.toString() !== 'run') return { kind: 'done' }
        const flat = rest as StartAnswer
        const lane = textOf(toRecord(flat[3])!, 'lane') ?? ''
        const [claimed, body] = toClaimed(one, lane, flat)
        return {
          kind: 'run',
          claimed: { ...claimed, body: atRest.openBody(rootOf(one.tenant), one.id, body) },
        }
      })
    },

    async start(held, intent) {
      const members =
        `,"provider":${JSON.stringify(intent.provider)},"model":${JSON.stringify(intent.model)}` +
        (intent.coalesced === 1 ? '' : `,"coalesced":${intent.coalesced}`) +
        (intent.waitedFor === null ? '' : `,"waited_for":"${intent.waitedFor}"`) +
        (intent.tier === undefined || intent.tier === 'standard' ? '' : `,"tier":"${intent.tier}"`)
      const answers = await Promise.all(
        held.map((one) => {
          return claim({ held: one, members, ...budgetFor(one, intent) })
        }),
      )
      const lane = `${intent.provider}/${intent.model}`
      const started: Started[] = []
      for (const [index, one] of held.entries()) {
        const [kind, ...rest] = answers[index]!
        if (kind.toString() === 'run') {
          const [claimed, body] = toClaimed(one, lane, rest as StartAnswer)
          const lostCall = (rest as StartAnswer)[2]
          if (lostCall > 0) {
            const { tenant, id: job, requestId } = claimed
            deps.events?.emit('job.incident', {
              kind: 'lost',
              tenant,
              job,
              lane,
              requestId,
              detail: { attempt: lostCall },
            })
          }
          try {
            const opened = atRest.openBody(rootOf(one.tenant), one.id, body)
            // The next step reads the whole body too, so it gets another turn of the event loop.
            if (hasLargeSource(opened)) await longWorkTurn()
            const whole = { ...claimed, body: opened }
            started.push({ kind: 'run', claimed: whole })
            deps.events?.emit('job.claimed', { claimed: whole, waitedFor: intent.waitedFor })
          } catch (error) {
            if (!(error instanceof UnreadableError)) throw error
            started.push(await leaveUnread(claimed, error))
          }
        } else if (kind.toString() === 'wait') {
          started.push({ kind: 'wait', at: Number(String(rest[0])) })
        } else {
          await outbox.dispatchById(one.tenant, String(rest[0]))
          const [, code, requestId] = rest.map(String)
          if (code !== undefined) {
            const { tenant, id: job } = one
            deps.events?.emit('job.incident', {
              kind: 'failed',
              tenant,
              job,
              lane,
              requestId: requestId || null,
              detail: { code },
            })
          }
          started.push({ kind: 'done' })
        }
      }
      return started
    },

    async complete(completions) {
      // Before the answer, which tells its client the id. Without a wait where there is none: vectors are kept right behind their jobs.
      const stored = completions.filter(isStoredByProvider)
      if (stored.length > 0) await rememberStored(stored)
      await restore(encode(completions))
      for (const completion of completions) deps.events?.emit('job.completed', completion)
    },
    encode,
    restore,

    models: (held) =>
      Promise.all(
        held.map(async (one) => {
          const key = `${rootOf(one.tenant)}:job:${one.id}`
          const [model, unfit] = await redis.hmget(key, 'model', 'unfit_lanes')
          return model ? { model, unfitLanes: splitLanes(unfit ?? '') } : null
        }),
      ),

    async reroute(held, lane) {
      const moved = await scripts.run('reroute', rootOf(held.tenant), [held.id, held.entry, lane])
      if (moved === 1) await outbox.dispatchById(held.tenant, held.id)
    },

    async leaveBatch({ tenant, id, entry }) {
      const moved = await scripts.run('leave-batch', rootOf(tenant), [id, entry])
      if (moved === 1) await outbox.dispatchById(tenant, id)
    },

    async stream(claimed, chunks) {
      const { tenant, id, call } = claimed
      const root = rootOf(tenant)
      const members = chunks.map((chunk) => `,"attempt":${call},${atRest.sealChunk(root, id, call, chunk)}`)
      return (await scripts.run('delta', root, [id, call, ...members])) === 1
    },
  }
}

/**
 * What start.lua answers after 'run': the call's number, the attempts, the number of the previous call if it was lost
 * with its worker, else 0, and the fields of the record that a call needs.
 */
type StartAnswer = [call: number, attempts: number, lostCall: number, flat: Buffer[]]

function usdOf(record: JobRecord, name: string): number | null {
  const nano = numberOf(record, name)
  return nano === null ? null : nano / 1e9
}

/** The claimed job, and its body as it is stored. */
function toClaimed(
  held: Held,
  lane: string,
  [call, attempts, , flat]: StartAnswer,
): [Omit<Claimed, 'body'>, Buffer] {
  const record = toRecord(flat)!
  const claimed = {
    tenant: held.tenant,
    id: held.id,
    lane,
    call,
    attempts,
    maxAttempts: numberOf(record, 'max_attempts') ?? 1,
    waitedMs: numberOf(record, 'waited_ms') ?? 0,
    firstStartedAt: numberOf(record, 'started_at') ?? 0,
    timeoutMs: numberOf(record, 'timeout_ms') ?? 0,
    type: textOf(record, 'type') as Claimed['type'],
    model: textOf(record, 'model')!,
    unfitLanes: splitLanes(textOf(record, 'unfit_lanes') ?? ''),
    hash: textOf(record, 'hash')!,
    cacheMode: textOf(record, 'cache_mode')!,
    isShownLive: textOf(record, 'live') !== null,
    requestId: textOf(record, 'request_id'),
    trace: textOf(record, 'trace'),
    cost: costOf(record),
    reservedUsd: usdOf(record, 'reserved_nano'),
  }
  return [claimed, record.get('body') as Buffer]
}

function splitLanes(text: string): string[] {
  return text === '' ? [] : text.split(' ')
}
