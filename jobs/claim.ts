import { longWorkTurn } from '../lib/breathe.ts'
import type { Emit } from '../lib/emitter.ts'
import type { JsonObject } from '../lib/json.ts'
import { hasLargeSource } from '../lib/json-source.ts'
import type { RedisClient } from '../lib/redis.ts'
import { UnreadableError } from '../lib/sealer.ts'
import type { AtRest } from './at-rest.ts'
import { encodeFairKeyLimits, type FairKeyLimits } from './fair-key.ts'
import { gatherCalls } from './gather-calls.ts'
import type { Incident } from './incidents.ts'
import type { JobType, Tier, WaitingFor } from './job.ts'
import type { JobCost } from './job-cost.ts'
import { encodeEstimate, type MoneyEstimate } from './money.ts'
import type { Outbox } from './outbox.ts'
import type { Held } from './queue-entry.ts'
import { costOf, type JobRecord, numberOf, textOf, toRecord } from './record.ts'
import type { Argument, Scripts } from './scripts.ts'

/** Most jobs that one script claims, which holds Redis for a millisecond. */
const MOST_CLAIMED = 16

/** A job is quarantined after this many of its calls were lost with their workers. */
const MOST_LOST = 3

/** What is known about a call before it is sent. */
export type Intent = {
  provider: string
  model: string
  coalesced: number
  waitedFor: WaitingFor | null
  /** The tier of service that the jobs ask for; absent: standard. */
  tier?: Tier
  /**
   * Expected cost of a job's call on this lane, for jobs that count against a budget; null: as much as was reserved.
   */
  estimate?: (cost: JobCost) => MoneyEstimate | null
}

/** A job claimed for one call. */
export type Claimed = {
  tenant: string
  id: string
  /** The lane of the call. */
  lane: string
  /** Number of the call within its job. It must still be the latest when it stores a failure or a retry. */
  call: number
  /** Calls that count against `maxAttempts`, with this one. */
  attempts: number
  maxAttempts: number
  /** Time from when the job could have started to this claim, ms. */
  waitedMs: number
  /** When its first call was claimed, Unix ms. */
  firstStartedAt: number
  timeoutMs: number
  type: JobType
  /** The model as the client named it: a lane, or an alias of several lanes. */
  model: string
  /** See NewJob. */
  unfitLanes: string[]
  hash: string
  cacheMode: string
  /** See NewJob. */
  isShownLive: boolean
  /** See NewJob; null if the job has none. */
  requestId: string | null
  trace: string | null
  /**
   * The provider batch that has a line for the job, and when the job was claimed for it, Unix ms; absent: the job is
   * called.
   */
  providerBatch?: { id: string; since: number }
  body: JsonObject
  cost: JobCost
  /** What was reserved for the call, USD; null: nothing. */
  reservedUsd: number | null
}

/** What a worker has to do for an entry. */
export type Started =
  | { kind: 'run'; claimed: Claimed }
  /** Not due before this Unix time in ms. */
  | { kind: 'wait'; at: number }
  /** There is nothing to do for this entry. */
  | { kind: 'done' }

/** Events of claims. They are emitted when the store has the change. */
export type ClaimEvents = {
  /** A job was claimed for a call. */
  'job.claimed': { claimed: Claimed; waitedFor: WaitingFor | null }
  'job.incident': Incident
}

/** How workers get jobs for their calls. All methods are idempotent, and throw if Redis is unavailable. */
export type Claims = {
  /** Claims fetched entries in one round trip. Returns one answer for each, in their order. */
  start(held: Held[], intent: Intent): Promise<Started[]>
  /**
   * Opens an entry whose call was started for this worker (see `Held.started`), if its body came with it. Otherwise use
   * `start`.
   */
  openStarted(held: Held, lane: string): Promise<Started>
  /** Reads again what `start` claimed under these tokens; `done`: the job has ended, or another call has it. */
  resume(held: Held[]): Promise<Started[]>
  /** The models that the clients of waiting entries named, in the order of the entries; null for a deleted job. */
  models(held: Held[]): Promise<(Pick<Claimed, 'model' | 'unfitLanes'> | null)[]>
}

/** The intent of a call, as members of its attempt. */
export function encodeIntent(
  intent: Pick<Intent, 'provider' | 'model' | 'coalesced' | 'waitedFor' | 'tier'>,
): string {
  return (
    `,"provider":${JSON.stringify(intent.provider)},"model":${JSON.stringify(intent.model)}` +
    (intent.coalesced === 1 ? '' : `,"coalesced":${intent.coalesced}`) +
    (intent.waitedFor === null ? '' : `,"waited_for":"${intent.waitedFor}"`) +
    (intent.tier === undefined || intent.tier === 'standard' ? '' : `,"tier":"${intent.tier}"`)
  )
}

export type ClaimsDeps = {
  redis: RedisClient
  scripts: Scripts
  outbox: Outbox
  rootOf: (tenant: string) => string
  atRest: AtRest
  settings: () => { retainMs: number }
  /** The tenant's budget of a UTC day, USD; null: no limit. Without this function no tenant has one. */
  budgetOf?: (tenant: string) => number | null
  /** The limits of the tenant's fair keys; null: none. Without this function no tenant has any. */
  fairKeyLimitsOf?: (tenant: string) => FairKeyLimits | null
  /** Decides on a claimed job whose body cannot be decrypted. */
  leaveUnread: (claimed: Omit<Claimed, 'body'>, error: UnreadableError) => Promise<Started>
  events?: Emit<ClaimEvents>
}

export function createClaims(deps: ClaimsDeps): Claims {
  const { redis, scripts, outbox, rootOf, atRest, settings } = deps

  type Budget = { budget: number | ''; expected: string }

  /**
   * The tenant's budget of a UTC day ('' for none), and the expected cost of the call. The store knows the job's other
   * budgets.
   */
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
  /** One script for each tenant claims the jobs of calls that start together. */
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

  /** A claimed job with its body. */
  async function open(
    claimed: Omit<Claimed, 'body'>,
    body: Buffer,
    waitedFor: WaitingFor | null,
  ): Promise<Started> {
    try {
      const opened = atRest.openBody(rootOf(claimed.tenant), claimed.id, body)
      // The next step also reads the whole body, so it gets another turn of the event loop.
      if (hasLargeSource(opened)) await longWorkTurn()
      const whole = { ...claimed, body: opened }
      deps.events?.emit('job.claimed', { claimed: whole, waitedFor })
      return { kind: 'run', claimed: whole }
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error
      return deps.leaveUnread(claimed, error)
    }
  }

  return {
    openStarted: (held, lane) => open(toStarted(held, lane), held.started!.body!, null),

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
      const members = encodeIntent(intent)
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
          started.push(await open(claimed, body, intent.waitedFor))
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

    models: (held) =>
      Promise.all(
        held.map(async (one) => {
          const key = `${rootOf(one.tenant)}:job:${one.id}`
          const [model, unfit] = await redis.hmget(key, 'model', 'unfit_lanes')
          return model ? { model, unfitLanes: splitLanes(unfit ?? '') } : null
        }),
      ),
  }
}

/**
 * What start.lua answers after 'run': the number of the call, the attempts, the number of the previous call if it was
 * lost with its worker (0 otherwise), and the fields of the record that a call needs.
 */
type StartAnswer = [call: number, attempts: number, lostCall: number, flat: Buffer[]]

function usdOf(record: JobRecord, name: string): number | null {
  const nano = numberOf(record, name)
  return nano === null ? null : nano / 1e9
}

/** The first call of a job that was started for this worker. `held.started` must be set. */
export function toStarted({ tenant, id, cost, started }: Held, lane: string): Omit<Claimed, 'body'> {
  const { at, reservedUsd, fields } = started!
  return {
    ...{ tenant, id, lane, call: 1, attempts: 1, waitedMs: 0, firstStartedAt: at, cost, reservedUsd },
    ...fields,
  }
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
