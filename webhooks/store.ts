/**
 * Webhook deliveries in Redis.
 *
 * All keys begin with the tenant's root, and have its hash tag:
 * - `<root>:webhooks`: sorted set, the outbox: delivery ids by the time they are due (Unix ms). A claimed delivery is due at the end of its
 *   lease. One that is delivered or failed is not in it.
 * - `<root>:delivery:<id>`: hash, one delivery:
 *     id               `whd_…`, also the `webhook-id` header
 *     job_id, event, url
 *     lane, request_id, trace   of the job, for logs and traces; '' where there is none
 *     status           pending | delivered | failed
 *     created_at       Unix ms: when the event happened
 *     next_attempt_at  Unix ms, '' when none follows
 *     attempts         JSON array of `{at, status, error, latency_ms, retry_after_ms?}`, the latest 20, oldest first
 *     attempt_count    attempts since the creation or the latest redelivery: the position in the schedule
 *     claim            number of the latest claim; older claims change nothing
 *     lease            Unix ms: when that claim ends, while it is being sent
 *     again            '1' when a redelivery was requested during an attempt
 * - `<root>:webhooks:failing`: sorted set, the latest 1,000 deliveries whose latest attempt failed, by its time (Unix ms).
 * - `<root>:webhooks:addresses`: hash, the latest 200 addresses without their queries, each with its counts as JSON.
 * - `<root>:webhooks:addresses:used`: sorted set, the same addresses by their latest attempt (Unix ms).
 * - `<root>:job:<job id>:deliveries`: list of the job's delivery ids, oldest first.
 *
 * The script that ends a job writes the fields down to attempt_count, the list entry and the outbox entry; `create` writes the same for
 * other callers. Redis' clock decides what is due.
 */

import type { Cluster, Redis } from 'ioredis'
import { loadScript, runScript } from '../lib/lua-script.ts'
import type {
  ClaimedDelivery,
  DeliveryAttempt,
  WebhookDeliveryView,
  WebhookEndpoint,
  WebhookEvent,
} from './delivery.ts'
import { readClaim, readDelivery, readEndpoint, toGivenUp } from './read-delivery.ts'

const MAX_ATTEMPTS_KEPT = 20
/** How long the summary of a tenant's receivers is kept after the latest attempt, ms. */
const RECEIVERS_KEPT_MS = 30 * 86_400_000
/** Deliveries read at once. */
const READ_AT_ONCE = 100
/** Due entries that one claim looks at, so that it never blocks Redis for long. */
const CLAIM_WINDOW = 128

export type ClaimAsk = {
  limit: number
  leaseMs: number
  /** Due entries to skip: 0, or the `nextOffset` of the previous claim. */
  offset: number
  /** Most simultaneous deliveries for one host, and the current numbers. */
  perHost: number
  inHand: ReadonlyMap<string, number>
}

export type Claim = {
  claimed: ClaimedDelivery[]
  /** Offset at which to continue when more is due than one claim looks at; 0: nothing more. */
  nextOffset: number
  /** True when due deliveries were not claimed, because their host or the limit was at its maximum. */
  left: boolean
  /** Ms until the next delivery that is not due yet; null: there is none. */
  nextDueInMs: number | null
}

export type AttemptVerdict =
  | { status: 'delivered' | 'failed' }
  /** Try again after `delayMs`. */
  | { status: 'pending'; delayMs: number }

/** The position of a delivery in the list of failing ones: its latest attempt, Unix ms. */
export type FailingPlace = { at: number; id: string }

/** `places` belong to the deliveries, in the same order. */
export type FailingPage = { deliveries: WebhookDeliveryView[]; places: FailingPlace[]; hasMore: boolean }

export type WebhookStore = {
  create(
    tenant: string,
    delivery: { id: string; jobId: string; event: WebhookEvent; url: string; now: number },
  ): Promise<void>
  /** Leases up to `limit` due deliveries, without those of hosts at their maximum. */
  claimDue(tenant: string, ask: ClaimAsk): Promise<Claim>
  /** `stale`: a newer claim has followed and decides. `gone`: the delivery was deleted meanwhile. */
  recordAttempt(
    delivery: ClaimedDelivery,
    attempt: DeliveryAttempt,
    verdict: AttemptVerdict,
  ): Promise<'recorded' | 'stale' | 'gone'>
  /** Returns a claimed delivery, due after `delayMs`, without counting an attempt. */
  postpone(delivery: ClaimedDelivery, delayMs: number): Promise<void>
  /** Number of the tenant's pending deliveries, and when the first of them was due, Unix ms; null: none. */
  backlog(tenant: string): Promise<{ pending: number; dueSince: number | null }>
  /**
   * Deliveries whose latest attempt failed, pending and given up, latest attempt first, after the position `after`. Rejects as `findMoved`
   * does.
   */
  failing(
    tenant: string,
    status: 'pending' | 'failed' | null,
    limit: number,
    after?: FailingPlace,
  ): Promise<FailingPage>
  /** The addresses that the tenant's deliveries were sent to lately, the latest first. */
  endpoints(tenant: string): Promise<WebhookEndpoint[]>
  /** The job's deliveries, newest first. */
  list(tenant: string, jobId: string): Promise<WebhookDeliveryView[]>
  /**
   * Makes a delivery due at once, with a fresh schedule and the same id. One that is being sent is sent again afterwards. Null: the tenant
   * has no such delivery; those about a budget do not belong to the tenant.
   */
  redeliver(tenant: string, deliveryId: string): Promise<WebhookDeliveryView | null>
}

/**
 * @param deps.root returns a tenant's root key, hash tag included
 * @param deps.touch called with a tenant whose deliveries change
 * @param deps.findMoved returns the fields of deliveries that left Redis with their jobs; null: stored elsewhere, but not readable now
 */
export function createWebhookStore(deps: {
  redis: Redis | Cluster
  root: (tenant: string) => string
  touch?: (tenant: string) => void
  findMoved?: (
    tenant: string,
    ids: readonly string[],
  ) => Promise<ReadonlyMap<string, Record<string, string> | null>>
}): WebhookStore {
  const { redis, root, touch = () => {}, findMoved = async () => new Map() } = deps
  const script = (name: string) => loadScript(new URL(`./lua/${name}.lua`, import.meta.url))
  const scripts = {
    claim: script('claim'),
    record: script('record'),
    postpone: script('postpone'),
    redeliver: script('redeliver'),
  }

  const deliveryKey = (tenant: string, id: string) => `${root(tenant)}:delivery:${id}`

  async function create(tenant: string, delivery: Parameters<WebhookStore['create']>[1]): Promise<void> {
    const { id, jobId, event, url, now } = delivery
    const due = { created_at: now, next_attempt_at: now, attempts: '[]', attempt_count: 0 }
    await redis
      .multi()
      .hset(deliveryKey(tenant, id), { id, job_id: jobId, event, url, status: 'pending', ...due })
      .rpush(`${root(tenant)}:job:${jobId}:deliveries`, id)
      .zadd(`${root(tenant)}:webhooks`, now, id)
      .publish(`${root(tenant)}:webhooks:wake`, id)
      .exec()
  }

  async function claimDue(tenant: string, ask: ClaimAsk): Promise<Claim> {
    const args = [ask.leaseMs, ask.limit, ask.offset, CLAIM_WINDOW, ask.perHost, ...[...ask.inHand].flat()]
    const answer = await runScript(redis, scripts.claim, root(tenant), args)
    const [now, wait, more, left, ...entries] = answer as [string, string, string, string, ...string[][]]
    if (entries.length > 0) touch(tenant)
    // Claimed entries have left their positions, so those after them moved up.
    const behind = ask.offset + CLAIM_WINDOW - entries.length
    return {
      claimed: entries.map((entry) => readClaim(tenant, Number(now), entry)),
      nextOffset: more !== '' ? behind : entries.length === ask.limit ? ask.offset : 0,
      left: left !== '0',
      nextDueInMs: wait === '' ? null : Number(wait),
    }
  }

  async function recordAttempt(
    delivery: ClaimedDelivery,
    attempt: DeliveryAttempt,
    verdict: AttemptVerdict,
  ): Promise<'recorded' | 'stale' | 'gone'> {
    touch(delivery.tenant)
    const delay = verdict.status === 'pending' ? verdict.delayMs : ''
    const args = [
      delivery.id,
      delivery.claim,
      JSON.stringify(attempt),
      MAX_ATTEMPTS_KEPT,
      verdict.status,
      delay,
      RECEIVERS_KEPT_MS,
    ]
    const answer = await runScript(redis, scripts.record, root(delivery.tenant), args)
    return answer as 'recorded' | 'stale' | 'gone'
  }

  async function postpone(delivery: ClaimedDelivery, delayMs: number): Promise<void> {
    touch(delivery.tenant)
    await runScript(redis, scripts.postpone, root(delivery.tenant), [delivery.id, delivery.claim, delayMs])
  }

  async function read(tenant: string, id: string): Promise<WebhookDeliveryView | null> {
    const fields = await redis.hgetall(deliveryKey(tenant, id))
    return fields.id === undefined ? null : readDelivery(fields)
  }

  async function list(tenant: string, jobId: string): Promise<WebhookDeliveryView[]> {
    const ids = await redis.lrange(`${root(tenant)}:job:${jobId}:deliveries`, 0, -1)
    const deliveries = await Promise.all(ids.reverse().map((id) => read(tenant, id)))
    return deliveries.filter((delivery) => delivery !== null)
  }

  async function failing(
    tenant: string,
    status: 'pending' | 'failed' | null,
    limit: number,
    after?: FailingPlace,
  ): Promise<FailingPage> {
    const key = `${root(tenant)}:webhooks:failing`
    const flat = await redis.zrange(key, '0', '-1', 'REV', 'WITHSCORES')
    const all = flat.flatMap((id, at) => (at % 2 === 0 ? [{ id, at: Number(flat[at + 1]) }] : []))
    const places = all.filter(
      ({ id, at }) => after === undefined || at < after.at || (at === after.at && id < after.id),
    )
    const found: { delivery: WebhookDeliveryView; place: FailingPlace }[] = []
    for (let at = 0; at < places.length && found.length <= limit; at += READ_AT_ONCE) {
      const some = places.slice(at, at + READ_AT_ONCE)
      const hot = await Promise.all(some.map(({ id }) => read(tenant, id)))
      const missing = some.flatMap(({ id }, index) => (hot[index] === null ? [id] : []))
      // Pending deliveries are always in Redis.
      const isAsked = missing.length > 0 && status !== 'pending'
      const moved = isAsked ? await findMoved(tenant, missing) : null
      const gone = moved === null ? [] : missing.filter((id) => !moved.has(id))
      // These were deleted with their jobs.
      if (gone.length > 0) await redis.zrem(key, ...gone)
      for (const [index, place] of some.entries()) {
        const delivery = hot[index] ?? toGivenUp(moved?.get(place.id))
        if (delivery === null || delivery.status === 'delivered') continue
        if (status === null || delivery.status === status) found.push({ delivery, place })
      }
    }
    const page = found.slice(0, limit)
    return {
      deliveries: page.map(({ delivery }) => delivery),
      places: page.map(({ place }) => place),
      hasMore: found.length > limit,
    }
  }

  async function endpoints(tenant: string): Promise<WebhookEndpoint[]> {
    const [fields, [seconds]] = await Promise.all([
      redis.hgetall(`${root(tenant)}:webhooks:addresses`),
      redis.time(),
    ])
    // The next attempt removes the older ones.
    const since = new Date(Number(seconds) * 1000 - RECEIVERS_KEPT_MS).toISOString()
    return Object.entries(fields)
      .map(([url, text]) => readEndpoint(url, text))
      .filter(({ last_at }) => last_at >= since)
      .sort((one, other) => (one.last_at < other.last_at ? 1 : -1))
  }

  async function backlog(tenant: string): Promise<{ pending: number; dueSince: number | null }> {
    const key = `${root(tenant)}:webhooks`
    const [pending, first] = await Promise.all([redis.zcard(key), redis.zrange(key, '0', '0', 'WITHSCORES')])
    return { pending, dueSince: first[1] === undefined ? null : Number(first[1]) }
  }

  async function redeliver(tenant: string, deliveryId: string): Promise<WebhookDeliveryView | null> {
    touch(tenant)
    const found = await runScript(redis, scripts.redeliver, root(tenant), [deliveryId])
    return found === 1 ? read(tenant, deliveryId) : null
  }

  return { create, claimDue, recordAttempt, postpone, failing, endpoints, backlog, list, redeliver }
}
