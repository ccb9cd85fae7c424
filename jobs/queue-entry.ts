import type { JobType, Priority } from './job.ts'
import type { JobCost } from './job-cost.ts'
import type { GatherPlan } from './new-job.ts'
import type { FetchedEntry } from './queue-scripts.ts'

/** An entry that is to be added to its lane's queue. */
export type QueueEntry = {
  tenant: string
  id: string
  /** Number of the entry within its job. A requeued job gets the next number. */
  entry: number
  lane: string
  priority: Priority
  /** Not due before this time, Unix ms; null: due at once. */
  notBefore: number | null
  cost: JobCost
  /** How the job is gathered for a provider batch, if it does not go into its lane's queue. */
  gather?: GatherPlan
  /** What an earlier call of the job told about it. */
  mark?: EntryMark
  /** The turn that the entry had before. Without it, the lane's order decides. */
  turn?: Turn
}

/**
 * An entry that this worker holds. Until the claim, the queue's lock holds it; after that, the job's place in its
 * tenant's outbox does. The place of a directly dispatched entry (direct-dispatch.ts) holds it from the beginning.
 */
export type Held = {
  tenant: string
  id: string
  entry: number
  cost: JobCost
  token: string
  /** Most jobs in its next request, this one included, because a shared request failed; null: no limit. */
  apart: number | null
  /** How many calls of the job met a 429 on this lane, and since when (Unix ms); null: none. */
  throttles: Throttles | null
  /** From this time on the job goes at standard and no longer at flex, Unix ms; null: not decided yet. */
  fallsBackAt: number | null
  /** How long its place holds the job after a claim, ms. */
  leaseMs: number
  /** The queue's entry; null while its place holds the job. */
  bull: FetchedEntry<EntryData> | null
  /** The entry to queue if the job has to wait; null while the queue's lock holds the job. */
  placed: QueueEntry | null
  /** True: the job was dispatched directly, and is not claimed yet. */
  isDirect: boolean
  /** The call, if the script that created the job also started it for this worker; null: the worker starts the call. */
  started: StartedCall | null
}

/**
 * A call that was started for this worker, with its permit, by the script that created the job (lua/start-here.lua).
 */
export type StartedCall = {
  permit: string
  /** When the call was started, Unix ms. */
  at: number
  /** How long its place holds the job from then on, ms, by the settings of the process that created it. */
  leaseMs: number
  /** See `Claimed`. */
  reservedUsd: number | null
  fields: StartedFields
  /** The body as it is stored; null: the body is large, and has to be read. */
  body: Buffer | null
}

/** What the worker has to know about the job. */
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
  /**
   * Gives each entry its priority (1 first) and its start tag. `held`: keys that are all empty when the lane is idle.
   */
  place(lane: string, entries: QueueEntry[], held: { sets: string[]; lists: string[] }): Promise<QueuePlace[]>
  /**
   * Entries up to this start tag, which take this many seconds together, are being served. `waiting`: the key of the
   * others. `isResumed`: the lane served nothing for a while, so earlier measurements do not count.
   */
  served(lane: string, service: { start: number; seconds: number; waiting: string; isResumed: boolean }): void
  /** Whether entries with these start tags keep their places. Without this method all do. */
  holds?(lane: string, starts: number[]): Promise<boolean[]>
  /** These entries leave the lane without having been served. */
  left?(lane: string, entries: { tenant: string; flow: string; share: number }[]): void
}

/**
 * An entry's place in the order. `flow` and `share` (s): the part of the tenant's turns that the entry takes, for
 * `Order.left`. `turn`: its place among the tenant's entries, if the tenant's turns rotate among fair keys.
 */
type QueuePlace = {
  priority: number
  start: number
  seconds: number
  flow?: string
  share?: number
  turn?: number
}

/** How many 429s an entry met on its lane, and since when, Unix ms. */
export type Throttles = { count: number; since: number }

/** What an entry remembers of a call that failed or met a 429, and of its time at flex. */
export type EntryMark = ({ broken: true; apart: number } | { throttles: Throttles } | object) & {
  fallsBackAt?: number
  /** How long the entry was put off in all because flex was shut, ms. */
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

/** The place of an entry: its start tag, or its place among its tenant's entries if these rotate among fair keys. */
export type Start = { start: number } | { tenant: string; ahead: number; of: number }

/** What BullMQ stores with an entry that has this turn. */
export function toData({ cost, mark }: QueueEntry, { priority: _, ...turn }: Turn): EntryData {
  return { ...cost, ...turn, ...mark }
}

/**
 * The entry's place among its tenant's entries of the same band, in the form that the scripts of the queue read; '' if
 * turns do not rotate among fair keys.
 */
export function turnInside({ priority }: QueueEntry, { turn }: Turn): string {
  return turn === undefined ? '' : `${priority}:${turn}`
}

/** The arguments of `Order.left` for an entry with this data; empty if it takes no part of the tenant's turns. */
export function toLeft(tenant: string, { flow, share }: EntryData) {
  return flow === undefined || share === undefined ? [] : [{ tenant, flow, share }]
}

/**
 * Whether an entry has had its turn, because its call failed and is retried later. It gets a new turn among its
 * tenant's retries, counted from where the lane is now. With their old turns, many retries would go before all entries
 * of other tenants.
 */
export function hadItsTurn({ mark, notBefore }: Pick<QueueEntry, 'mark' | 'notBefore'>): boolean {
  return mark !== undefined && 'broken' in mark && notBefore !== null
}

/**
 * The queue entry of a claimed job that has to wait. It keeps its turn and its marks, as if it had never left the
 * queue.
 */
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

/** An entry that was fetched. `leaseMs`: how long its place holds the job after a claim, ms. */
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

/** The queue's entry. Throws if a place holds the job already. */
export function bullOf(held: Held): FetchedEntry<EntryData> {
  if (held.bull === null) throw new Error(`${held.id} is not in the queue`)
  return held.bull
}
