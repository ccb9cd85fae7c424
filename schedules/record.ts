import { readTerms, writeTerms } from '../config/key-terms.ts'
import { isJsonObject, type JsonObject } from '../lib/json.ts'
import { keepSource, keepSourcesAt, sourceOf } from '../lib/json-source.ts'
import { isSealed, type Sealer, UnreadableError } from '../lib/sealer.ts'
import type { CatchUp, Overlap, Schedule, ScheduleRun, ScheduleSettings, Target } from './schedule.ts'

/** A hash as Redis returns it. */
export type RawRecord = Record<string, Buffer>

/** The settings as names and values of the record's fields. The create object is encrypted if encryption is configured. */
export function toFields(
  settings: ScheduleSettings,
  place: { root: string; id: string },
  sealer: Sealer,
): (string | Buffer)[] {
  const text = (value: string | number | null) => (value === null ? '' : String(value))
  const fields: [string, string | Buffer][] = [
    ['name', text(settings.name)],
    ['target', settings.target],
    ['cron', text(settings.cron)],
    ['every', text(settings.every)],
    ['time_zone', settings.timeZone],
    ['overlap', settings.overlap],
    ['catch_up', settings.catchUp],
    ['starts_at', text(settings.startsAt)],
    ['ends_at', text(settings.endsAt)],
    ['max_runs', text(settings.maxRuns)],
    ['paused', settings.paused ? '1' : '0'],
    ['metadata', JSON.stringify(settings.metadata)],
    ...Object.entries(writeTerms(settings)),
    ['create', sealCreate(settings.create, place, sealer)],
  ]
  return fields.flat()
}

/** The settings as one plain text, to compare and digest them. */
export function describeSettings(settings: ScheduleSettings): string {
  const { name, target, cron, every, timeZone, startsAt, endsAt, overlap, catchUp, maxRuns, paused } =
    settings
  const members = [name, target, cron, every, timeZone, startsAt, endsAt, overlap, catchUp, maxRuns, paused]
  return JSON.stringify([...members, Object.entries(settings.metadata).sort(), sourceOf(settings.create)])
}

/** Whether a schedule has exactly these settings; false if it cannot be decrypted. */
export function isSameSettings(schedule: Schedule, settings: ScheduleSettings): boolean {
  const { create } = schedule
  return create !== null && describeSettings({ ...schedule, create }) === describeSettings(settings)
}

function sealCreate(create: JsonObject, place: { root: string; id: string }, sealer: Sealer): Buffer {
  const text = Buffer.from(sourceOf(create))
  return sealer.seal({ ...place, purpose: 'schedule' }, text) ?? text
}

/** Decrypts and parses a create object. Throws `UnreadableError` if its encryption key is not configured. */
export function openCreate(stored: Buffer, place: { root: string; id: string }, sealer: Sealer): JsonObject {
  const text = (isSealed(stored) ? sealer.open({ ...place, purpose: 'schedule' }, stored) : stored).toString(
    'utf8',
  )
  const value: unknown = JSON.parse(text)
  if (!isJsonObject(value)) throw new UnreadableError(null)
  keepSource(value, text)
  keepSourcesAt(value, ['body'])
  return value
}

/** Parses a schedule's record; null: there is no schedule. */
export function toSchedule(
  tenant: string,
  id: string,
  record: RawRecord,
  place: { root: string },
  sealer: Sealer,
): Schedule | null {
  if (record.revision === undefined) return null
  const text = (name: string) => record[name]?.toString('utf8') || null
  const number = (name: string) => (record[name]?.length ? Number(record[name].toString()) : null)
  return {
    id,
    tenant,
    name: text('name'),
    target: text('target') as Target,
    cron: text('cron'),
    every: text('every'),
    timeZone: text('time_zone') ?? 'UTC',
    overlap: text('overlap') as Overlap,
    catchUp: text('catch_up') as CatchUp,
    startsAt: number('starts_at'),
    endsAt: number('ends_at'),
    maxRuns: number('max_runs'),
    paused: text('paused') === '1',
    metadata: JSON.parse(text('metadata') ?? '{}') as Record<string, string>,
    ...readTerms({ models: text('models'), payers: text('payers') }),
    create: tryOpen(record.create, { root: place.root, id }, sealer),
    declared: text('declared') === '1',
    createdAt: number('created_at') ?? 0,
    updatedAt: number('updated_at') ?? 0,
    nextAt: number('next_at'),
    lastRun: record.last_run === undefined ? null : toRun(record.last_run.toString()),
    runs: number('runs') ?? 0,
    slotRuns: number('slot_runs') ?? 0,
    revision: number('revision') ?? 0,
  }
}

function tryOpen(
  stored: Buffer | undefined,
  place: { root: string; id: string },
  sealer: Sealer,
): JsonObject | null {
  try {
    return stored === undefined ? null : openCreate(stored, place, sealer)
  } catch (error) {
    if (error instanceof UnreadableError) return null
    throw error
  }
}

/** Parses an entry of a schedule's history. */
export function toRun(text: string): ScheduleRun {
  return JSON.parse(text) as ScheduleRun
}
