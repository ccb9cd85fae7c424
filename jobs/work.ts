import type { Emit } from '../lib/emitter.ts'
import { readIdTime } from '../lib/job-id.ts'
import type { JsonValue } from '../lib/json.ts'
import type { RedisClient } from '../lib/redis.ts'
import type { UnreadableError } from '../lib/sealer.ts'
import { type AtRest, toUndecryptable } from './at-rest.ts'
import { type ClaimEvents, type Claimed, type Claims, createClaims, type Started } from './claim.ts'
import type { FairKeyLimits } from './fair-key.ts'
import {
  type AttemptEnd,
  createFinishes,
  type FinishEvents,
  type Finishes,
  type ResultFile,
} from './finish.ts'
import type { WaitingFor } from './job.ts'
import { tenantRoot } from './keys.ts'
import type { Outbox } from './outbox.ts'
import { createProviderState } from './provider-state.ts'
import type { Held } from './queue-entry.ts'
import type { Scripts } from './scripts.ts'

/**
 * NEW_KEY_MS: how long a job is requeued if its body is encrypted with a key that this process does not know yet. Only
 * a new job can be encrypted with a new key. NEW_KEY_PAUSE_MS: the pause before each new try.
 */
const NEW_KEY_MS = 10 * 60_000
const NEW_KEY_PAUSE_MS = 5000

/** The workers' side of the job store. Every method is idempotent, and throws if Redis is unavailable. */
export type Work = Claims &
  Finishes & {
    /** Requeues the job. False: it has ended or moved, and no longer needs this entry. */
    requeue(claimed: Omit<Claimed, 'body'>, end: AttemptEnd, next: Retry): Promise<boolean>
    /** Moves a waiting job to another lane. Its entry here is not needed any more, even if the job does not move. */
    reroute(held: Held, lane: string): Promise<void>
    /** Moves a job that waits for a provider batch to its lane's queue. */
    leaveBatch(job: Pick<Held, 'tenant' | 'id' | 'entry'>): Promise<void>
    /**
     * Appends chunks of the stream. False: the job has ended or another call has it, and this call is not needed any
     * more.
     */
    stream(claimed: Claimed, chunks: JsonValue[]): Promise<boolean>
  }

/** How a job continues. `lane`: another lane that serves the job from now on. */
export type Retry = {
  lane?: string
  /** How long the worker keeps the job to send it again itself, ms; absent: the job is queued. */
  heldForMs?: number
  at: number
  countsAsAttempt: boolean
  reason: string
  waitingFor: WaitingFor
  /** The slower way that the job no longer takes: a provider batch, or flex. */
  leaves?: 'gather' | 'flex'
  /** The cost of the call stays unknown: the estimate that was booked when its job was cancelled stays. */
  keepsCost?: true
}

/** Events of a worker's jobs. They are emitted when the store has the change. */
export type WorkEvents = ClaimEvents &
  FinishEvents & {
    /**
     * A job was requeued after a call. `waits`: it waits in this lane; false: it moved to `next.lane`, or had ended.
     */
    'job.requeued': { claimed: Omit<Claimed, 'body'>; end: AttemptEnd; next: Retry; waits: boolean }
  }

export function createWork(deps: {
  redis: RedisClient
  scripts: Scripts
  outbox: Outbox
  prefix: string
  atRest: AtRest
  settings: () => { retainMs: number; cacheTtlMs: number; cacheMaxBytes: number }
  /** The tenant's budget, USD a UTC day; null: no limit. Without this function no tenant has one. */
  budgetOf?: (tenant: string) => number | null
  /** Stores the files of results. No job holds them until its result is stored. A second call stores the same files. */
  putFiles: (tenant: string, files: readonly ResultFile[]) => Promise<void>
  /** The limits of the tenant's fair keys; null: none. Without this function no tenant has any. */
  fairKeyLimitsOf?: (tenant: string) => FairKeyLimits | null
  now: () => number
  events?: Emit<WorkEvents>
}): Work {
  const { redis, scripts, outbox, prefix, atRest, settings, now } = deps
  const rootOf = (tenant: string) => tenantRoot(prefix, tenant)
  const providerState = createProviderState({ redis, root: rootOf })
  const { budgetOf, fairKeyLimitsOf, putFiles, events } = deps
  const parts = { scripts, outbox, rootOf, atRest, settings, events }
  const finishes = createFinishes({ ...parts, providerState, putFiles })
  const { fail } = finishes
  const claims = createClaims({ ...parts, redis, budgetOf, fairKeyLimitsOf, leaveUnread })

  /** Fails a job whose body cannot be decrypted, or requeues it while the key may still come. */
  async function leaveUnread(claimed: Omit<Claimed, 'body'>, error: UnreadableError): Promise<Started> {
    const failed = toUndecryptable(error)
    const end: AttemptEnd = { outcome: 'failed', latency_ms: 0, error_code: failed.code }
    const at = now() + NEW_KEY_PAUSE_MS
    if (error.missingKey === null || at > readIdTime(claimed.id) + NEW_KEY_MS) {
      atRest.onUnreadable(error, claimed.id)
      // Jobs that share its call have bodies of their own.
      await fail(claimed, end, failed, true)
      return { kind: 'done' }
    }
    const next: Retry = { at, countsAsAttempt: false, reason: failed.code, waitingFor: 'retry_delay' }
    return (await requeue(claimed, end, next)) ? { kind: 'wait', at } : { kind: 'done' }
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
      next.keepsCost ? '' : (end.cost_usd ?? 0),
      end.cost_is_estimate ? '1' : '',
      next.heldForMs ?? 0,
      next.leaves ?? '',
    ])
    const [kept, promoted] = answer as [number, Buffer]
    await outbox.dispatchById(tenant, kept === 2 ? id : promoted.toString())
    const waits = kept === 1
    events?.emit('job.requeued', { claimed, end, next, waits })
    return waits
  }

  return {
    ...claims,
    ...finishes,
    requeue,

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
