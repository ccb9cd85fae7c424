import { findSlots, type Lane, type LaneLimits, listLimits } from '../config/lanes.ts'
import {
  BAND_SECONDS,
  type Band,
  type Fairness,
  type FairSnapshot,
  type FairState,
  type KeyPlace,
  type Newcomer,
  tagEntries,
} from './fairness.ts'
import type { Gate, LaneWaitingFor } from './gate.ts'
import type { BucketState, LaneState } from './lane-state.ts'
import { inputLimitOf, outputLimitOf } from './media-limits.ts'

/** The place of an entry: its start tag and its band. */
export type QueuePosition = { start: number; band: Band }

/** The place of an entry whose tenant's turns go round fair keys. It takes one of its tenant's turns. */
type KeyedPosition = KeyPlace & { tenant: string; band: Band }

/**
 * The turn that an entry among fair keys will take. The tenant's turns reach from the virtual time to the end of the tenant's last entry;
 * the entry takes the turn with as many turns before it as entries go before it. Exact if all entries of the tenant have one size.
 */
function positionOfKeyed(state: FairState, { tenant, band, ahead, of }: KeyedPosition): QueuePosition {
  const end = Math.max(state.v, state.ends.get(`${band}:${tenant}`) ?? 0)
  const share = of === 0 ? 0 : Math.min(1, ahead / of)
  return { start: state.v + (end - state.v) * share, band }
}

/**
 * Seconds of service that the lane gives before the turn of an entry: for every tenant and band, the queued entries with an
 * earlier tag, times the weight. This is as exact as the tags: the queued entries of a tenant reach from the virtual time to the end
 * of its last entry without a gap.
 *
 * @param weightOf the tenant's weight
 */
export function secondsAhead(
  state: FairState,
  entry: QueuePosition,
  weightOf: (tenant: string) => number,
): number {
  const turn = entry.start + BAND_SECONDS[entry.band]
  let seconds = 0
  for (const [key, end] of state.ends) {
    const colon = key.indexOf(':')
    const band = key.slice(0, colon)
    if (!isBand(band)) continue // entries that are not due yet
    const upTo = Math.min(end, turn - BAND_SECONDS[band])
    if (upTo > state.v) seconds += (upTo - state.v) * weightOf(key.slice(colon + 1))
  }
  return seconds
}

/** The place that an entry gets if it is queued now. */
export function positionOfNewcomer(state: FairState, tenant: string, band: Band): QueuePosition {
  const copy: FairState = { v: state.v, ends: new Map(state.ends) }
  const [start] = tagEntries(copy, [{ tenant, band, seconds: 0, weight: 1 }])
  return { start: start!, band }
}

function isBand(flow: string): flow is Band {
  return Object.hasOwn(BAND_SECONDS, flow)
}

export type Forecast = {
  /** Unix ms; null when the lane's speed is unknown. */
  startAt: number | null
  waitingFor: LaneWaitingFor | null
}

export type Forecaster = {
  /** When waiting entries of a lane will start. */
  entries(lane: string, positions: readonly (QueuePosition | KeyedPosition | null)[]): Promise<Forecast[]>
  /** When a job that is queued now will start. */
  newcomer(lane: string, newcomer: Newcomer): Promise<Forecast>
}

/** A longer pause lasts until an operator ends it, ms. */
const NO_END_MS = 31_536_000_000

/** A lane's state is read at most this often, ms: a page of jobs is forecast from one reading. */
const SNAPSHOT_MS = 250

type Snapshot = {
  fair: FairSnapshot
  openAt: number
  speed: number | null
  waitingFor: LaneWaitingFor | null
  /** No other entry waits, or all waiting entries may leave at once. */
  isFree: boolean
  /** The provider is down, and it is unknown when it comes back. */
  isDown: boolean
}

/** Forecasts from the queue of a lane and its real speed: the measured speed while it has a backlog, else the speed of its limits. */
export function createForecaster(deps: {
  fairness: Pick<Fairness, 'read' | 'place'>
  gate: Pick<Gate, 'read'>
  laneOf: (id: string) => Lane | null
  weightOf: (tenant: string) => number
  /** Waiting entries of the lane, delayed or not. */
  waiting: (lane: string) => Promise<number>
  now: () => number
}): Forecaster {
  const snapshots = new Map<string, { at: number; snapshot: Promise<Snapshot | null> }>()

  function snapshotOf(id: string): Promise<Snapshot | null> {
    const known = snapshots.get(id)
    if (known && Math.abs(deps.now() - known.at) < SNAPSHOT_MS) return known.snapshot
    const snapshot = read(id)
    snapshot.catch(() => snapshots.delete(id))
    snapshots.set(id, { at: deps.now(), snapshot })
    return snapshot
  }

  async function read(id: string): Promise<Snapshot | null> {
    const lane = deps.laneOf(id)
    if (!lane) return null
    const [fair, state, waiting] = await Promise.all([
      deps.fairness.read(id),
      deps.gate.read(lane),
      deps.waiting(id),
    ])
    const pausedUntil = Math.max(...[state, ...state.shared].map((bucket) => bucket.pausedUntil ?? 0))
    const slots = Math.min(findSlots(lane), state.learnedConcurrency ?? Number.POSITIVE_INFINITY)
    const speed = computeSpeed(lane, state)
    return {
      fair: waiting === 0 ? { ...fair, ends: new Map() } : fair,
      openAt: Math.max(deps.now(), pausedUntil),
      speed: fair.rate ?? divide(speed, fair.overlap),
      waitingFor: pausedUntil === 0 ? fair.waitingFor : 'provider_pause',
      isFree:
        waiting === 0 ||
        (speed === null &&
          waiting + Math.max(...[state, ...state.shared].map((one) => one.inFlight)) <= slots),
      isDown: state.breaker.state !== 'closed',
    }
  }

  function forecast(snapshot: Snapshot | null, at: QueuePosition | KeyedPosition | null): Forecast {
    if (!snapshot) return { startAt: null, waitingFor: null }
    const { fair, openAt, speed, waitingFor, isDown } = snapshot
    if (isDown || openAt - deps.now() > NO_END_MS) return { startAt: null, waitingFor }
    if (snapshot.isFree) return { startAt: openAt, waitingFor }
    if (speed === null || !at) return { startAt: null, waitingFor }
    const position = 'ahead' in at ? positionOfKeyed(fair, at) : at
    const seconds = secondsAhead(fair, position, deps.weightOf)
    return { startAt: openAt + (seconds / speed) * 1000, waitingFor }
  }

  return {
    async entries(id, positions) {
      const snapshot = await snapshotOf(id)
      return positions.map((position) => forecast(snapshot, position))
    },
    async newcomer(id, newcomer) {
      const { tenant, band, fairKey } = newcomer
      const snapshot = await snapshotOf(id)
      if (snapshot && fairKey !== undefined && !snapshot.isFree) {
        const place = await deps.fairness.place(id, newcomer)
        if (place.of > 0) return forecast(snapshot, { tenant, band, ...place })
      }
      return forecast(snapshot, snapshot && positionOfNewcomer(snapshot.fair, tenant, band))
    },
  }
}

/** Seconds of service a second that the lane's own and shared limits allow now; null: there are none. */
function computeSpeed(lane: Lane, state: LaneState): number | null {
  const speeds = listLimits(lane)
    .map((limits, index) => computeBucketSpeed(limits, index === 0 ? state : state.shared[index - 1]!))
    .filter((speed) => speed !== null)
  return speeds.length === 0 ? null : Math.min(...speeds)
}

function computeBucketSpeed(limits: LaneLimits, state: BucketState): number | null {
  const shares = [
    [state.rates.requests, limits.requests_per_minute],
    [state.rates.tokens, limits.tokens_per_minute],
    [state.rates.inputTokens, inputLimitOf(limits)],
    [state.rates.outputTokens, outputLimitOf(limits)],
  ] as const
  let speed: number | null = null
  for (const [rate, limit] of shares) {
    if (rate !== null && limit !== undefined)
      speed = Math.min(speed ?? Number.POSITIVE_INFINITY, rate / limit)
  }
  return speed === null ? null : speed * state.speed
}

function divide(speed: number | null, overlap: number): number | null {
  return speed === null ? null : speed / overlap
}
