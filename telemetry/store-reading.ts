type Levels = Record<string, number | null>

/** The state of the store, which all processes share. */
export type StoreReading = {
  jobs: { tenant: string; status: string; count: number }[]
  /** Queued jobs that wait for the limits of their fair keys. */
  parked: { tenant: string; count: number }[]
  lanes: LaneReading[]
  /** Limits that several lanes share; each is listed once. */
  sharedLimits: SharedLimitReading[]
  /** The fullest budget for each tenant, kind of owner and window. */
  budgets: BudgetReading[]
  webhooks: {
    /** Deliveries that are still to be made. */
    pending: number
    /** Of the delivery that has been due for longest; 0: none is due. */
    lateMs: number
  }
  /** Null: there is no history. */
  history: {
    /** Ended jobs that are only in Redis. */
    waiting: number
    /** Of the job that has waited for longest; 0: none is waiting. */
    lateMs: number
  } | null
  memory: {
    /** Share of its `maxmemory` that the fullest server uses; null: no server has a limit. */
    used: number | null
    /** New work is refused from this share on. */
    limit: number
  }
}

export type LaneReading = {
  id: string
  backlog: { waiting: number; delayed: number; held: number }
  inFlight: number
  /** Limit of concurrent calls; null: no limit. */
  concurrency: number | null
  /** By dimension: the bucket's level, and its refill per second; null: no limit. */
  levels: Levels
  rates: Levels
  /** 0 to 1. */
  utilisation: number
  speed: number
  isPaused: boolean
  isBroken: boolean
  /** How long a job queued now waits, for the tenant with the longest wait. Null: unknown. */
  forecastMs: number | null
  /** Service tiers other than standard, and whether each is paused or broken. */
  tiers: { name: string; isShut: boolean }[]
  /** If the lane has several sources. */
  sources: SourceReading[]
  /** While jobs wait for capacity: the shared limit with the least of it, or `lane` for the lane's own limits; null: no limit. */
  heldBackBy: string | null
}

/** A source of a lane. */
export type SourceReading = Pick<LaneReading, 'inFlight' | 'utilisation' | 'speed' | 'isPaused'> & {
  name: string
  isShut: boolean
}

/** A limit that a provider counts for several lanes. Members as for a lane. */
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
  /** Spent and reserved share of the limit; 1 or more: exhausted. */
  usedShare: number
}
