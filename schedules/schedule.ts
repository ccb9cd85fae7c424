import type { KeyTerms } from '../config/key-terms.ts'
import type { JsonObject } from '../lib/json.ts'

/** What a schedule makes at each of its slots: a job or a flow. */
export const targets = ['job', 'flow'] as const
export type Target = (typeof targets)[number]

/** What happens to a slot while the job or flow of the slot before still runs. */
export const overlaps = ['allow', 'skip', 'cancel_previous'] as const
export type Overlap = (typeof overlaps)[number]

/** What happens to slots that passed while no worker was running. */
export const catchUps = ['none', 'latest', 'all'] as const
export type CatchUp = (typeof catchUps)[number]

/** When the slots of a schedule are. Times are Unix ms. */
export type Timing = {
  /** Exactly one of the two: a cron expression, or a duration such as `15m`. */
  cron: string | null
  every: string | null
  timeZone: string
  startsAt: number | null
  endsAt: number | null
}

/** A schedule as it was asked for, checked. */
export type ScheduleSettings = Timing &
  KeyTerms & {
    name: string | null
    target: Target
    /** The create object, as `POST /v1/jobs` or `POST /v1/flows` takes it. */
    create: JsonObject
    overlap: Overlap
    catchUp: CatchUp
    maxRuns: number | null
    paused: boolean
    metadata: Record<string, string>
  }

export const RunOutcome = {
  created: 'created',
  skipped: 'skipped',
  missed: 'missed',
  refused: 'refused',
} as const
export type RunOutcome = (typeof RunOutcome)[keyof typeof RunOutcome]

/** The outcome of a slot, or of a run that a client asked for beside them. */
export type ScheduleRun = {
  /** Its place in the schedule's history, from 1. */
  number: number
  trigger: 'slot' | 'manual'
  /** Unix ms, as are all times here. */
  scheduledFor: number
  startedAt: number
  outcome: RunOutcome
  /** The job or flow; null where none was made. */
  made: string | null
  error: RunError | null
}

export type RunError = { code: string; message: string }

export type Schedule = Omit<ScheduleSettings, 'create'> & {
  id: string
  tenant: string
  /** Null: it was encrypted with a key that is not configured. */
  create: JsonObject | null
  /** True: it stands in the configuration, and changes with that alone. */
  declared: boolean
  createdAt: number
  updatedAt: number
  /** The slot that comes next, or is due; null: paused, or there is none. */
  nextAt: number | null
  lastRun: ScheduleRun | null
  /** Jobs and flows that it made, those that were asked for among them, and of slots alone. */
  runs: number
  slotRuns: number
  /** Grows with every change of the settings. */
  revision: number
}

/** Most slots that `catch_up: all` makes up for, and most missed ones that are remembered of one outage. */
export const MOST_CAUGHT_UP = 100
