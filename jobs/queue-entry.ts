import type { JobType, Priority } from './job.ts'
import type { GatherPlan, JobCost } from './jobs.ts'
import type { FetchedEntry } from './queue-scripts.ts'

export type QueueEntry = {
  tenant: string
  id: string
  /** Number of the entry within its job. A requeued job gets the next number. */
  entry: number
  lane: string
  priority: Priority
  /** Not before this Unix time in ms; null: at once. */
  notBefore: number | null
  cost: JobCost
  /** How it is gathered for a provider batch, if it does not go into its lane's queue. */
  gather?: GatherPlan
  /** What an earlier call of the job told about it. */
  mark?: EntryMark
  /** The turn that the entry keeps from before. Without it the lane's order decides. */
  turn?: Turn
}

/**
 * An entry that this worker holds. Until the claim the queue's lock holds it, then the job's place in its tenant's
 * outbox does. A directly dispatched entry (direct-dispatch.ts) is held by its place from the beginning.
 */
export type Held = {
  tenant: string
  id: string
  entry: number
  cost: JobCost
  token: string
  /** Most jobs in its next request, itself included, because a shared request broke; null: no limit. */
  apart: number | null
  /** How many of its calls met a 429 on this lane, and since when (Unix ms); null: none. */
  throttles: Throttles | null
  /** From then on it goes at standard instead of flex, Unix ms; null: nothing said so yet. */
  fallsBackAt: number | null
  /** How long its place holds it after a claim, ms. */
  leaseMs: number
  /** The queue's entry; null once its place holds it. */
  bull: FetchedEntry<EntryData> | null
  /** The entry to queue if the job has to wait; null while the queue's lock holds it. */
  placed: QueueEntry | null
  /** True: it was dispatched directly and is not claimed yet. */
  isDirect: boolean
  /** The call that the script which made the job started for this worker; null: the worker starts it. */
  started: StartedCall | null
}

/** A call that was started for the worker that hears of it, with its permit (lua/start-here.lua). */
export type StartedCall = {
  permit: string
  /** When, Unix ms. */
  at: number
  /** How long its place holds the job from then on, ms: as the process that made it reckons. */
  leaseMs: number
  /** See `Claimed`. */
  reservedUsd: number | null
  fields: StartedFields
  /** The body as it is stored; null: it is large, and has to be read. */
  body: Buffer | null
}

/** What the worker has to know of the job. */
export type StartedFields = {
  type: JobType
  model: string
  maxAttempts: number
  timeoutMs: number
  unfitLanes: string[]
  hash: string
  cacheMode: string
  isShownLive: boolean
  requestId: string | null
  trace: string | null
}

/** Decides the order in which a lane's entries are served; see ratelimit/fairness.ts. */
export type Order = {
  /** Priority (1 first) and start tag of each entry. `held`: keys that are all empty once the lane is idle. */
  place(lane: string, entries: QueueEntry[], held: { sets: string[]; lists: string[] }): Promise<QueuePlace[]>
  /**
   * Entries up to this start tag, of so many seconds in all, are being served. `waiting`: the key of the others.
   * `anew`: the lane served nothing for a while, so earlier measurements do not count.
   */
  served(lane: string, start: number, seconds: number, waiting: string, anew: boolean): void
  /** Whether entries with these start tags still have their place. Without this method all do. */
  holds?(lane: string, starts: number[]): Promise<boolean[]>
  /** These entries leave the lane unserved. */
  left?(lane: string, entries: { tenant: string; flow: string; share: number }[]): void
}

/**
 * An entry's place in the order. `flow` and `share` (s): the part of the tenant's turns that it takes, for `Order.left`. `turn`: its
 * place among the tenant's entries, where the tenant's turns go round fair keys.
 */
type QueuePlace = {
  priority: number
  start: number
  seconds: number
  flow?: string
  share?: number
  turn?: number
}

/** 429s that an entry met on its lane. */
export type Throttles = { count: number; since: number }

/** What an entry keeps about a call that broke or met a 429, and about its time at flex. */
export type EntryMark = ({ broken: true; apart: number } | { throttles: Throttles } | object) & {
  fallsBackAt?: number
  /** How long it was put off in all because flex was shut, ms. */
  putOffMs?: number
}

/** The turn of an entry, and what its calls told about it. */
export type Turn = QueuePlace & {
  broken?: true
  apart?: number
  throttles?: Throttles
  fallsBackAt?: number
  putOffMs?: number
}

/** What BullMQ stores with an entry. */
export type EntryData = JobCost & Omit<Turn, 'priority'>

/** Where an entry stands: its start tag, or its place among its tenant's entries where these go round fair keys. */
export type Start = { start: number } | { tenant: string; ahead: number; of: number }

export function toData({ cost, mark }: QueueEntry, { priority: _, ...turn }: Turn): EntryData {
  return { ...cost, ...turn, ...mark }
}

/** Where the entry stands among its tenant's of the same band, as the scripts of the queue read it; '' where fair keys have no part in it. */
export function turnInside({ priority }: QueueEntry, { turn }: Turn): string {
  return turn === undefined ? '' : `${priority}:${turn}`
}

export function toLeft(tenant: string, { flow, share }: EntryData) {
  return flow === undefined || share === undefined ? [] : [{ tenant, flow, share }]
}

/**
 * An entry whose call broke and that is retried later has had its turn. It gets a new one among its tenant's retries,
 * from where the lane is now: with their old turns, many retries would go before all entries of other tenants.
 */
export function hadItsTurn({ mark, notBefore }: Pick<QueueEntry, 'mark' | 'notBefore'>): boolean {
  return mark !== undefined && 'broken' in mark && notBefore !== null
}

/** The queue entry of a claimed job that has to wait: it keeps its turn and its marks, as if it had never left. */
export function toEntry(
  { tenant, id, entry }: Held,
  bull: FetchedEntry<EntryData>,
  lane: string,
): QueueEntry {
  const { data, priority } = bull
  return {
    tenant,
    id,
    entry,
    lane,
    priority: (data.flow?.replace(/^(later|again)-/, '') ?? 'normal') as Priority,
    notBefore: null,
    cost: data,
    turn: { ...data, priority },
  }
}

export function toHeld(bull: FetchedEntry<EntryData>, leaseMs: number): Held {
  const dash = bull.id.lastIndexOf('-')
  return {
    tenant: bull.tenant,
    id: bull.id.slice(0, dash),
    entry: Number(bull.id.slice(dash + 1)),
    cost: bull.data,
    apart: bull.data.apart ?? null,
    throttles: bull.data.throttles ?? null,
    fallsBackAt: bull.data.fallsBackAt ?? null,
    leaseMs,
    bull,
    placed: null,
    isDirect: false,
    started: null,
    token: bull.token,
  }
}

export function bullOf(held: Held): FetchedEntry<EntryData> {
  if (held.bull === null) throw new Error(`${held.id} is not in the queue`)
  return held.bull
}
