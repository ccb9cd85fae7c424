type Levels = Record<string, number | null>

/** What stands in the store, which all processes share. */
export type StoreReading = {
  jobs: { tenant: string; status: string; count: number }[]
  /** Queued jobs that wait for the limits of their fair keys. */
  parked: { tenant: string; count: number }[]
  lanes: LaneReading[]
  /** Limits that several lanes share, each once. */
  sharedLimits: SharedLimitReading[]
  /** Of each tenant, kind of owner and window the fullest budget. */
  budgets: BudgetReading[]
  webhooks: {
    /** Deliveries that are still to be made. */
    pending: number
    /** Of the one that is due for longest; 0: none is. */
    lateMs: number
  }
  /** Null: there is none. */
  history: {
    /** Ended jobs that only Redis has. */
    waiting: number
    /** Of the one that waits for longest; 0: none does. */
    lateMs: number
  } | null
  memory: {
    /** Share of its `maxmemory` that the fullest server uses; null: none has a limit. */
    used: number | null
    /** From which share on new work is refused. */
    limit: number
  }
}

export type LaneReading = {
  id: string
  backlog: { waiting: number; delayed: number; held: number }
  inFlight: number
  /** The calls at once that may be under way; null: not limited. */
  concurrency: number | null
  /** By dimension: what the bucket holds, and what it gains in a second; null: no limit. */
  levels: Levels
  rates: Levels
  /** 0 to 1. */
  utilisation: number
  speed: number
  isPaused: boolean
  isBroken: boolean
  /** How long a job that is queued now waits, for the tenant with the longest wait. Null: not known. */
  forecastMs: number | null
  /** Tiers of service other than standard, and whether each is paused or broken. */
  tiers: { name: string; isShut: boolean }[]
  /** Of a lane with several of them. */
  sources: SourceReading[]
  /** While jobs wait for room: the shared limit with the least of it, or `lane` for its own limits; null: nothing holds it back. */
  heldBackBy: string | null
}

/** A source of a lane. */
export type SourceReading = Pick<LaneReading, 'inFlight' | 'utilisation' | 'speed' | 'isPaused'> & {
  name: string
  isShut: boolean
}

/** A limit that a provider counts over several lanes. Members as of a lane. */
export type SharedLimitReading = Pick<LaneReading, 'inFlight' | 'utilisation' | 'speed' | 'isPaused'> & {
  provider: string
  name: string
}

/** A budget, USD. */
export type BudgetReading = {
  tenant: string
  owner: string
  per: string
  limitUsd: number
  spentUsd: number
  reservedUsd: number
  /** What is spent and reserved, of the limit; 1 and more: it has no room. */
  usedShare: number
}
