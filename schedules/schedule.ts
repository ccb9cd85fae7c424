import type { KeyTerms } from '../config/key-terms.ts'
import type { JsonObject } from '../lib/json.ts'

/** What a schedule creates at each slot: a job or a flow. */
export const targets = ['job', 'flow'] as const
export type Target = (typeof targets)[number]

/** What happens to a slot while the job or flow of the previous slot is open. */
export const overlaps = ['allow', 'skip', 'cancel_previous'] as const
export type Overlap = (typeof overlaps)[number]

/** What happens to slots that passed while no worker was running. */
export const catchUps = ['none', 'latest', 'all'] as const
export type CatchUp = (typeof catchUps)[number]

/** Defines the slots of a schedule. Times are Unix ms. */
export type Timing = {
  /** Exactly one of the two: a cron expression, or a duration such as `15m`. */
  cron: string | null
  every: string | null
  timeZone: string
  startsAt: number | null
  endsAt: number | null
}

/** The settings of a schedule, validated. */
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

/** The outcome of a slot, or of a manual run. */
export type ScheduleRun = {
  /** Its number in the schedule's history, from 1. */
  number: number
  trigger: 'slot' | 'manual'
  /** Unix ms, as are all times here. */
  scheduledFor: number
  startedAt: number
  outcome: RunOutcome
  /** The id of the job or flow; null: none was created. */
  made: string | null
  error: RunError | null
}

export type RunError = { code: string; message: string }

export type Schedule = Omit<ScheduleSettings, 'create'> & {
  id: string
  tenant: string
  /** Null: it was encrypted with a key that is not configured. */
  create: JsonObject | null
  /** True: the configuration declares it, and only the configuration changes it. */
  declared: boolean
  createdAt: number
  updatedAt: number
  /** The next slot, which may be due already; null: the schedule is paused, or has no further slot. */
  nextAt: number | null
  lastRun: ScheduleRun | null
  /** How many jobs and flows it created: in all, and for slots only (without manual runs). */
  runs: number
  slotRuns: number
  /** Grows with every change of the settings. */
  revision: number
}

/** The most slots that `catch_up: all` runs, and the most missed slots that are listed after one outage. */
export const MOST_CAUGHT_UP = 100
