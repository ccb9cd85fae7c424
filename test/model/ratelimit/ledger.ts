import type { Amounts, Bounds } from '../../../ratelimit/limits.ts'
import { DIMENSIONS } from '../../../ratelimit/limits.ts'

/**
 * What was taken in the last `window` ms, in 600 slices. A slice counts until all of it is outside of the window by
 * more than the network may shift two calls against each other, so the provider's own count is never higher.
 * Invariants: `sum` = open slice + closed slices from `tail` on; times given never go back.
 */
export type Ledger = {
  window: number
  /** Number of the slice that takes are written to: floor(time / width). */
  open: number
  /** What was taken in the open slice. */
  amounts: Amounts
  /** Earlier slices that hold anything. */
  closed: Map<number, Amounts>
  /** The first slice that still counts. */
  tail: number
  sum: Amounts
}

const SLICES = 600
/** How much later than its neighbour a call may reach the provider at most, ms. */
const MOST_JITTER_MS = 500

export function createLedger(window: number, now: number): Ledger {
  const open = Math.floor(now / (window / SLICES))
  return { window, open, amounts: [0, 0, 0, 0], closed: new Map(), tail: open, sum: [0, 0, 0, 0] }
}

/** How a window is counted. `jitter`: by how much calls may overtake each other, ms. `isNewStep`: see `resizeLedger`. */
type Counting = { window: number; headroom?: number; jitter?: number; isNewStep?: boolean }

/** Brings the ledger to `now`. True if a slice was closed. Each slice is dropped once; a long idle drops all at once. */
export function rollLedger(ledger: Ledger, counting: Counting, now: number): boolean {
  const { window, headroom = 1, jitter = jitterOf(window), isNewStep = false } = counting
  const countsMs = countingTime(window, headroom, jitter)
  if (ledger.window !== window) {
    Object.assign(ledger, resizeLedger(ledger, { window, countsMs, isNewStep }, now))
    return true
  }
  const width = window / SLICES
  const previous = ledger.open
  ledger.open = Math.floor(now / width)
  if (ledger.open !== previous) {
    if (ledger.amounts.some((amount) => amount !== 0)) ledger.closed.set(previous, ledger.amounts)
    ledger.amounts = [0, 0, 0, 0]
  }
  const tail = Math.floor((now - countsMs) / width)
  if (tail > previous) {
    ledger.closed.clear()
    ledger.sum = [0, 0, 0, 0]
  }
  for (let slice = ledger.tail; slice < tail && ledger.closed.size > 0; slice++) {
    const amounts = ledger.closed.get(slice)
    if (!amounts) continue
    for (const dimension of DIMENSIONS) ledger.sum[dimension] -= amounts[dimension]
    ledger.closed.delete(slice)
  }
  ledger.tail = Math.max(ledger.tail, tail)
  return ledger.open !== previous
}

/**
 * The ledger with slices of another span. What still counts keeps its time, so that two spans used in turn move nothing on.
 *
 * @param span `countsMs`: how long a slice counts after its end, ms; `isNewStep`: the call before took a step of learning, so all
 *   counts as just taken
 */
function resizeLedger(
  ledger: Ledger,
  { window, countsMs, isNewStep }: { window: number; countsMs: number; isNewStep: boolean },
  now: number,
): Ledger {
  const fresh = createLedger(window, now)
  const before = ledger.window / SLICES
  const width = window / SLICES
  fresh.tail = Math.floor((now - countsMs) / width)
  for (let slice = ledger.tail; slice <= ledger.open; slice++) {
    const amounts = slice === ledger.open ? ledger.amounts : ledger.closed.get(slice)
    if (!amounts) continue
    const kept =
      width < before
        ? Math.ceil(((slice + 1) * before) / width - 0.5) - 1
        : Math.floor(((slice + 0.5) * before) / width)
    const number = isNewStep ? fresh.open : kept
    if (number < fresh.tail) continue
    const into = number < fresh.open ? (fresh.closed.get(number) ?? [0, 0, 0, 0]) : fresh.amounts
    if (number < fresh.open) fresh.closed.set(number, into as Amounts)
    for (const dimension of DIMENSIONS) {
      into[dimension] += amounts[dimension]
      fresh.sum[dimension] += amounts[dimension]
    }
  }
  return fresh
}

export function addToLedger(ledger: Ledger, cost: Amounts): void {
  for (const dimension of DIMENSIONS) {
    ledger.amounts[dimension] += cost[dimension]
    ledger.sum[dimension] += cost[dimension]
  }
}

/**
 * Returns `refund` (negative: a charge) to the slice that it was taken in at `takenAt`; for a dropped slice it does
 * nothing.
 */
export function correctLedger(ledger: Ledger, takenAt: number, refund: Amounts): void {
  const slice = Math.floor(takenAt / (ledger.window / SLICES))
  if (slice < ledger.tail) return
  const amounts = slice === ledger.open ? ledger.amounts : (ledger.closed.get(slice) ?? [0, 0, 0, 0])
  for (const dimension of DIMENSIONS) {
    const back = Math.min(refund[dimension], amounts[dimension])
    amounts[dimension] -= back
    ledger.sum[dimension] -= back
  }
  if (slice !== ledger.open) ledger.closed.set(slice, amounts)
}

/** For each dimension without room for `cost`: ms until enough slices have been dropped; null where there is room. */
export function computeLedgerWaits(
  ledger: Ledger,
  asked: { capacities: Bounds; cost: Amounts } & Omit<Counting, 'window' | 'isNewStep'>,
  now: number,
): Bounds {
  const { capacities, cost, headroom = 1, jitter = jitterOf(ledger.window) } = asked
  const waits: Bounds = [null, null, null, null]
  const excess: Amounts = [0, 0, 0, 0]
  let missing = 0
  for (const dimension of DIMENSIONS) {
    const capacity = capacities[dimension]
    if (capacity === null || cost[dimension] === 0) continue
    excess[dimension] = ledger.sum[dimension] + cost[dimension] - capacity
    if (excess[dimension] > 0) missing++
  }
  const width = ledger.window / SLICES
  for (let slice = ledger.tail; slice <= ledger.open && missing > 0; slice++) {
    const amounts = slice === ledger.open ? ledger.amounts : ledger.closed.get(slice)
    if (!amounts) continue
    for (const dimension of DIMENSIONS) {
      if (excess[dimension] <= 0) continue
      excess[dimension] -= amounts[dimension]
      if (excess[dimension] > 0) continue
      waits[dimension] = (slice + 1) * width + countingTime(ledger.window, headroom, jitter) - now
      missing--
    }
  }
  return waits
}

/**
 * How long a slice counts after its end, ms: the window, and an allowance for calls that arrive later than others. It
 * uses what the headroom leaves idle anyway: a pace of `headroom` never meets this guard, while a burst of arrivals
 * behind a busy network finds the provider's window with room.
 */
function countingTime(window: number, headroom: number, jitter: number): number {
  const spare = window * (1 / headroom - 1 - 1 / SLICES)
  return window + Math.max(jitter, Math.min(MOST_JITTER_MS, spare))
}

function jitterOf(window: number): number {
  return Math.min(50, window / 20)
}
