import type { Lane, Overview, OverviewSample } from '../wire.ts'

/** Columns of equal length, as a chart takes them. Null is a gap. A share of 1 is the whole limit in force. */
export type LaneHistory = {
  /** Unix seconds. */
  at: number[]
  requests: (number | null)[]
  tokens: (number | null)[]
  slots: (number | null)[]
  inFlight: (number | null)[]
  waiting: (number | null)[]
  throttled: (number | null)[]
  /** 1 while the lane is paused. */
  paused: (number | null)[]
  requestsPerMinute: (number | null)[]
  requestLimit: (number | null)[]
  tokensPerMinute: (number | null)[]
  tokenLimit: (number | null)[]
}

/** Figures of all lanes together. */
export type TotalHistory = {
  at: number[]
  finished: (number | null)[]
  inFlight: (number | null)[]
  waiting: (number | null)[]
  failed: (number | null)[]
  spent: (number | null)[]
  throttled: (number | null)[]
}

export type History = {
  add(overview: Overview): void
  /** The same object for as long as the lane is known; its columns change in place. */
  lane(id: string): LaneHistory | null
  total: TotalHistory
  /** Puts the server's samples before what the page has received itself. */
  seed(samples: readonly OverviewSample[], lanes: readonly Lane[]): void
  clear(): void
}

/** A silence longer than this makes a gap in the line, s. */
const GAP_S = 5

type Sample = Record<string, number | null>
type Columns = { at: number[]; [column: string]: (number | null)[] }

/** Remembers the snapshots of the overview for `keepSeconds`. */
export function createHistory({ keepSeconds }: { keepSeconds: number }): History {
  const lanes = new Map<string, LaneHistory>()
  const total: TotalHistory = {
    at: [],
    finished: [],
    inFlight: [],
    waiting: [],
    failed: [],
    spent: [],
    throttled: [],
  }

  return {
    total,
    lane: (id) => lanes.get(id) ?? null,
    seed(samples, known) {
      const earlier = samples.filter(
        ({ at }) => Date.parse(at) / 1_000 < (total.at[0] ?? Number.POSITIVE_INFINITY),
      )
      prepend(
        total,
        earlier.map(({ at, total: sample }) => [Date.parse(at) / 1_000, fromTotal(sample)]),
      )
      for (const lane of known) {
        const history = lanes.get(lane.id)
        if (history !== undefined) prepend(history, toLaneColumns(earlier, lane))
      }
    },
    clear() {
      lanes.clear()
      for (const column of Object.values(total)) column.length = 0
    },
    add(overview) {
      const at = Date.parse(overview.at) / 1_000
      for (const lane of overview.lanes) {
        const history = lanes.get(lane.id) ?? createLaneHistory()
        lanes.set(lane.id, history)
        append(history, at, sampleLane(lane), keepSeconds)
      }
      const known = new Set(overview.lanes.map(({ id }) => id))
      for (const id of lanes.keys()) if (!known.has(id)) lanes.delete(id)
      append(total, at, sampleTotal(overview), keepSeconds)
    },
  }
}

/** Turns samples into the columns of one lane. */
export function toLaneHistory(samples: readonly OverviewSample[], lane: Lane): LaneHistory {
  const history = createLaneHistory()
  prepend(history, toLaneColumns(samples, lane))
  return history
}

/** Samples leave out idle lanes, so such a lane counts as zero. Shares are relative to the lane's present limits. */
function toLaneColumns(samples: readonly OverviewSample[], lane: Lane): [number, Sample][] {
  const none = { requests: 0, tokens: 0, input_tokens: 0, output_tokens: 0 }
  return samples.map(({ at, lanes }) => {
    const {
      in_flight = 0,
      waiting = 0,
      throttled = lane.throttled,
      paused = false,
      used = none,
    } = lanes[lane.id] ?? {}
    const then = {
      ...lane,
      ...{ in_flight, throttled, used },
      backlog: { ...lane.backlog, waiting },
      paused_until: paused ? at : null,
    }
    return [Date.parse(at) / 1_000, sampleLane(then)]
  })
}

function fromTotal(total: OverviewSample['total']): Sample {
  return {
    finished: total.finished_per_minute,
    inFlight: total.in_flight,
    waiting: total.waiting,
    failed: total.failed,
    spent: total.spent_usd,
    throttled: total.throttled,
  }
}

/** A time this long without a sample is a gap, s: no worker ran. */
const SAMPLE_GAP_S = 300

function prepend(columns: Columns, samples: readonly [number, Sample][]): void {
  const whole: [number, Sample][] = []
  for (const one of samples) {
    const last = whole.at(-1)
    if (last !== undefined && one[0] - last[0] > SAMPLE_GAP_S) whole.push([last[0] + 1, {}])
    whole.push(one)
  }
  for (const [name, column] of Object.entries(columns))
    column.unshift(...whole.map(([at, sample]) => (name === 'at' ? at : (sample[name] ?? null))))
}

function createLaneHistory(): LaneHistory {
  return {
    at: [],
    requests: [],
    tokens: [],
    slots: [],
    inFlight: [],
    waiting: [],
    throttled: [],
    paused: [],
    requestsPerMinute: [],
    requestLimit: [],
    tokensPerMinute: [],
    tokenLimit: [],
  }
}

function append(
  columns: Columns,
  at: number,
  sample: Record<string, number | null>,
  keepSeconds: number,
): void {
  const last = columns.at.at(-1)
  // The server's clock was set back, or it is another server. Its present time counts, so the earlier points go.
  if (last !== undefined && at < last) for (const column of Object.values(columns)) column.length = 0
  // The same snapshot comes again, for example after a reconnect.
  if (last === at) return
  if (last !== undefined && at - last > GAP_S) push(columns, last + 1, {})
  push(columns, at, sample)
  const outdated = columns.at.findIndex((second) => second >= at - keepSeconds)
  if (outdated > 0) for (const column of Object.values(columns)) column.splice(0, outdated)
}

function push(columns: Columns, at: number, sample: Record<string, number | null>): void {
  for (const [name, column] of Object.entries(columns))
    column.push(name === 'at' ? at : (sample[name] ?? null))
}

function sampleLane(lane: Lane): Record<string, number | null> {
  const [requests, tokens, slots] = [readUse(lane, 'requests'), readTokenUse(lane), readSlots(lane)]
  return {
    requests: requests?.share ?? null,
    tokens: tokens?.share ?? null,
    slots: slots?.share ?? null,
    inFlight: lane.in_flight,
    waiting: lane.backlog.waiting,
    throttled: lane.throttled,
    paused: lane.paused_until === null ? 0 : 1,
    requestsPerMinute: requests?.used ?? null,
    requestLimit: requests?.limit ?? null,
    tokensPerMinute: tokens?.used ?? null,
    tokenLimit: tokens?.limit ?? null,
  }
}

function sampleTotal({ lanes, tenants }: Overview): Record<string, number | null> {
  const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0)
  return {
    finished: sum(tenants.map((tenant) => tenant.finished_per_minute)),
    inFlight: sum(lanes.map((lane) => lane.in_flight)),
    waiting: sum(tenants.map(({ counts }) => counts.queued + counts.scheduled)),
    failed: sum(tenants.map(({ counts }) => counts.failed)),
    spent: sum(tenants.map((tenant) => tenant.spent_usd)),
    throttled: sum(lanes.map((lane) => lane.throttled)),
  }
}

/** How much of a limit is used. `used` and `limit` are counts per minute, or concurrent calls. */
export type Use = { used: number; limit: number; share: number }
export type Dimension = 'requests' | 'tokens' | 'input_tokens' | 'output_tokens'

/** Null if the lane has no such limit. The limit is the one in force: the learned one if that is lower. */
export function readUse(lane: Lane, dimension: Dimension): Use | null {
  const configured = lane.limits[dimension]
  if (configured === null) return null
  const learned = dimension === 'requests' || dimension === 'tokens' ? lane.learned[dimension] : null
  const limit = Math.min(configured, learned ?? configured)
  const used = ((lane.used[dimension] ?? 0) * 60_000) / lane.limits.window_ms
  return { used, limit, share: used / limit }
}

/** Use of the fullest token limit: providers may count input and output separately. */
function readTokenUse(lane: Lane): Use | null {
  const uses = (['tokens', 'input_tokens', 'output_tokens'] as const).map((name) => readUse(lane, name))
  return uses.reduce((most, use) => ((use?.share ?? -1) > (most?.share ?? -1) ? use : most), null)
}

/** The use of the concurrency limit; null: the lane has none. */
export function readSlots(lane: Lane): Use | null {
  const limit = lane.limits.concurrency
  return limit === null ? null : { used: lane.in_flight, limit, share: lane.in_flight / limit }
}
