import type { Logger } from 'pino'
import type { Emit } from '../lib/emitter.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import type { ClaimedDelivery } from './delivery.ts'
import { createWebhookSlots } from './delivery-slots.ts'
import { type WebhookSubject, webhookPayload } from './payload.ts'
import { applyRetryAfter } from './retry-after.ts'
import { nextDeliveryDelay } from './schedule.ts'
import type { SendOutcome, WebhookSender } from './send.ts'
import type { AttemptVerdict, Claim, WebhookStore } from './store.ts'

/** Longer than the sender's timeout: a lease ends only when its worker is gone. */
const LEASE_MS = 60_000
/** A send starts only while this share of its lease is left: 25 s, for a send of up to 15 s and its record. */
const LEASE_MARGIN_SHARE = 25 / 60
/** How long `stop` waits for running sends: the sender's timeout, or less where the store is away and nothing can be recorded. */
const STOP_GRACE_MS = 15_000
const STOP_AWAY_MS = 1000
const OUTCOMES = { delivered: 'delivered', pending: 'retried', failed: 'given_up' } as const
/** Pause before an unreadable outbox is read again, ms. */
const AGAIN_MS = 1000
/** Pause before reading further in an outbox whose first hosts are at their limit, ms. */
const LOOK_FURTHER_MS = 50

export type WebhookDeliveryDeps = {
  store: WebhookStore
  sender: WebhookSender
  /** Read before each attempt, so that a new configuration applies at once. */
  settings: () => WebhookDeliverySettings
  tenants: () => Promise<string[]>
  /** The current state of the job or flow, or the content of a budget's event; null when it was deleted. */
  loadSubject: (
    delivery: Pick<ClaimedDelivery, 'tenant' | 'jobId' | 'event'>,
  ) => Promise<WebhookSubject | null>
  log: Pick<Logger, 'warn' | 'error'>
  /** Unix milliseconds, by Redis' clock. */
  now: () => number
  /** Gets the outcome of each attempt. `delayMs`: from the job's end to the answer. */
  events: Emit<WebhookEvents>
  /** Called for each tenant whose outbox could not be read. */
  onFailure: OnUpkeepFailure
  /** Whether the store answers. Never throws. */
  isStoreThere: () => Promise<boolean>
}

export type WebhookDeliverySettings = {
  /** Waits before each attempt, ms. */
  schedule: readonly number[]
  /** The public URL of the API, without a trailing slash. */
  linkBase: string
}

export type WebhookDeliveryOptions = {
  /** Most simultaneous deliveries of one tenant; fewer while other tenants have many. */
  concurrency?: number
  /** Most of them for one host, so that a receiver that does not answer does not delay the others. */
  concurrencyPerHost?: number
  /** How long a claim reserves a delivery for this process, ms. */
  leaseMs?: number
  /**
   * Pause between two looks at the outboxes of all tenants, ms. In between, only tenants are looked at that `wake` names or that have due
   * deliveries.
   */
  pollMs?: number
  random?: () => number
}

export type WebhookEvents = { 'webhook.attempted': WebhookAttempt }

export type WebhookAttempt = {
  tenant: string
  outcome: 'delivered' | 'retried' | 'given_up'
  latencyMs: number
  delayMs: number
}

export type WebhookDelivery = {
  start(): void
  /** Looks at the tenant's outbox now; without a tenant, at all outboxes. */
  wake(tenant?: string): void
  /** Claims no more deliveries. Resolves when the running ones are recorded, or returned after 15 s. */
  stop(): Promise<void>
}

/**
 * Sends the deliveries of the webhook outbox: claim, load the job, sign and send, record.
 *
 * A delivery is sent at least once. If a worker dies while it sends, the lease ends and another worker sends the webhook again with the
 * same `webhook-id`.
 */
export function createWebhookDelivery(
  deps: WebhookDeliveryDeps,
  options: WebhookDeliveryOptions = {},
): WebhookDelivery {
  const { store, sender, settings, tenants, loadSubject, log, now } = deps
  const { concurrency = 64, concurrencyPerHost = 8, pollMs = 1000, leaseMs = LEASE_MS } = options
  const { random = Math.random } = options
  const running = new Set<Promise<void>>()
  const slots = createWebhookSlots({ perTenant: concurrency, perHost: concurrencyPerHost })
  /** Offset at which to continue in a tenant's outbox. */
  const offsets = new Map<string, number>()
  const abort = new AbortController()
  /** Tenants to look at in the next round. */
  const wanted = new Set<string>()
  /** When a tenant's next delivery is due, as far as known, on the clock of `performance.now`. */
  const dueAt = new Map<string, number>()
  /** Tenants whose due deliveries found no slot: the end of a send wakes them. */
  const withoutSlot = new Set<string>()
  let loop: Promise<void> | null = null
  let stopping = false
  let rounds = 0
  let woken = false
  /** When all tenants are looked at next. */
  let wholeAt = Number.NEGATIVE_INFINITY
  let endRest: (() => void) | null = null

  function start(): void {
    loop ??= run()
  }

  function wake(tenant?: string): void {
    if (tenant === undefined) wholeAt = Number.NEGATIVE_INFINITY
    else wanted.add(tenant)
    woken = true
    endRest?.()
  }

  async function stop(): Promise<void> {
    stopping = true
    wake()
    const isThere = await deps.isStoreThere()
    const grace = setTimeout(() => abort.abort(), isThere ? STOP_GRACE_MS : STOP_AWAY_MS)
    await loop
    await Promise.all(running)
    clearTimeout(grace)
  }

  async function run(): Promise<void> {
    while (!stopping) {
      woken = false
      const pauseMs = await claimSome()
      if (pauseMs > 0 && !woken && !stopping) await rest(pauseMs)
    }
  }

  function rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms)
      function done() {
        clearTimeout(timer)
        endRest = null
        resolve()
      }
      endRest = done
    })
  }

  /** Chooses the tenants of the next round. */
  async function chooseTenants(time: number): Promise<string[]> {
    const due = [...dueAt].flatMap(([tenant, at]) => (at <= time ? [tenant] : []))
    let all: string[] = []
    if (time >= wholeAt) {
      wholeAt = time + pollMs
      all = await tenants().catch((error) => {
        wholeAt = Number.NEGATIVE_INFINITY
        throw error
      })
    }
    const chosen = new Set([...all, ...wanted, ...due])
    wanted.clear()
    for (const tenant of chosen) dueAt.delete(tenant)
    return [...chosen]
  }

  function noteDue(tenant: string, inMs: number): void {
    const at = performance.now() + inMs
    dueAt.set(tenant, Math.min(at, dueAt.get(tenant) ?? at))
  }

  /** Notes it and wakes the loop, which may be resting for longer. */
  function noteNext(tenant: string, inMs: number): void {
    noteDue(tenant, inMs)
    woken = true
    endRest?.()
  }

  /** Claims as many deliveries as there are slots. Returns how long to rest, ms. */
  async function claimSome(): Promise<number> {
    let names: string[]
    try {
      names = await chooseTenants(performance.now())
    } catch (error) {
      deps.onFailure({ task: 'webhooks', tenant: '', error })
      return AGAIN_MS
    }
    const left = new Set(names)
    const visit = async (tenant: string) => {
      if (stopping) return
      withoutSlot.delete(tenant)
      const limit = slots.free(tenant)
      if (limit > 0) await claimFrom(tenant, limit)
      else withoutSlot.add(tenant)
      left.delete(tenant)
    }
    const fail = (error: unknown, tenant: string) => deps.onFailure({ task: 'webhooks', tenant, error })
    await visitAll(rotate(names, rounds++), visit, fail, { endsWithStore: true })
    for (const tenant of left) noteDue(tenant, AGAIN_MS)
    return Math.min(wholeAt, ...dueAt.values()) - performance.now()
  }

  /**
   * Looks at the first due entries, then at some of the following. Each round continues where the last one ended, so that a slow host's
   * long backlog hides other hosts only for a while.
   */
  async function claimFrom(tenant: string, limit: number): Promise<void> {
    const front = await claimAt(tenant, 0, limit)
    const room = limit - front.claimed.length
    if (front.nextOffset === 0 || room === 0) {
      offsets.delete(tenant)
      if (front.claimed.length > 0) noteDue(tenant, 0)
      else if (front.nextDueInMs !== null) noteDue(tenant, Math.max(1, front.nextDueInMs))
      return
    }
    const behind = await claimAt(tenant, offsets.get(tenant) ?? front.nextOffset, room)
    offsets.set(tenant, behind.nextOffset || front.nextOffset)
    noteDue(tenant, front.claimed.length + behind.claimed.length > 0 ? 0 : LOOK_FURTHER_MS)
  }

  async function claimAt(tenant: string, offset: number, limit: number): Promise<Claim> {
    const ask = { limit, leaseMs, offset, ...slots.hosts(tenant) }
    const claim = await store.claimDue(tenant, ask)
    if (claim.left) withoutSlot.add(tenant)
    for (const delivery of claim.claimed) launch(delivery)
    return claim
  }

  function launch(delivery: ClaimedDelivery): void {
    const { tenant, host, id } = delivery
    const release = slots.take(tenant, host)
    const settled = deliver(delivery)
      .catch((error: unknown) => deps.onFailure({ task: 'webhooks', tenant, id, error }))
      .finally(() => {
        running.delete(settled)
        release()
        for (const other of withoutSlot) wake(other)
        withoutSlot.clear()
      })
    running.add(settled)
  }

  async function deliver(delivery: ClaimedDelivery): Promise<void> {
    const leaseEndsAt = performance.now() + leaseMs
    const early = delivery.createdAt + (settings().schedule[0] ?? 0) - delivery.claimedAt
    if (delivery.attemptsMade === 0 && early > 0) {
      await store.postpone(delivery, early)
      return noteNext(delivery.tenant, early)
    }

    const job = await loadSubject(delivery)
    // The outcome could not surely be recorded before the next claim. That claim sends the delivery.
    if (performance.now() > leaseEndsAt - leaseMs * LEASE_MARGIN_SHARE) return
    const at = new Date(now()).toISOString()
    const outcome = job === null ? notSent('job deleted') : await sendJob(delivery, job)
    if (abort.signal.aborted && outcome.error === 'aborted') return store.postpone(delivery, 0)

    const verdict = job === null ? ({ status: 'failed' } as const) : judge(delivery, outcome)
    const attempt = {
      at,
      status: outcome.status,
      error: outcome.error,
      latency_ms: Math.round(outcome.latencyMs),
      ...(outcome.retryAfterMs === null ? {} : { retry_after_ms: outcome.retryAfterMs }),
    }
    await store.recordAttempt(delivery, attempt, verdict)
    if (verdict.status === 'pending') noteNext(delivery.tenant, verdict.delayMs)
    deps.events.emit('webhook.attempted', {
      tenant: delivery.tenant,
      outcome: OUTCOMES[verdict.status],
      latencyMs: outcome.latencyMs,
      delayMs: delivery.claimedAt - delivery.createdAt + outcome.latencyMs,
    })
    if (verdict.status === 'failed') {
      const { tenant, id, jobId, lane, requestId } = delivery
      const line = { job: jobId, tenant, lane, request_id: requestId, delivery: id, error: outcome.error }
      log.warn(line, 'webhook given up')
    }
  }

  async function sendJob(delivery: ClaimedDelivery, job: WebhookSubject): Promise<SendOutcome> {
    const happenedAt = new Date(delivery.createdAt).toISOString()
    let body: string
    try {
      body = webhookPayload(delivery.event, job, happenedAt, settings().linkBase)
    } catch (error) {
      // It counts as an attempt, so that a job that cannot be serialized is not tried for ever.
      log.error({ err: error, delivery: delivery.id }, 'webhook payload could not be written')
      return notSent('payload could not be written')
    }
    const { id, url, trace, tenant } = delivery
    return await sender.send({
      id,
      url,
      body,
      tenant,
      signal: abort.signal,
      ...(trace === null ? {} : { trace }),
    })
  }

  function judge(delivery: ClaimedDelivery, outcome: SendOutcome): AttemptVerdict {
    if (outcome.delivered) return { status: 'delivered' }
    if (outcome.gone) return { status: 'failed' }
    const delayMs = nextDeliveryDelay(settings().schedule, delivery.attemptsMade + 1, random)
    if (delayMs === null) return { status: 'failed' }
    const { retryAfterMs } = outcome
    return { status: 'pending', delayMs: applyRetryAfter(delayMs, retryAfterMs, settings().schedule, random) }
  }

  return { start, wake, stop }
}

function notSent(error: string): SendOutcome {
  return { delivered: false, gone: false, status: null, error, latencyMs: 0, retryAfterMs: null }
}

/** Lets another tenant come first in each round. */
function rotate<T>(items: readonly T[], by: number): T[] {
  const start = items.length === 0 ? 0 : by % items.length
  return [...items.slice(start), ...items.slice(0, start)]
}
