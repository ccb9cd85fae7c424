/** A reader's place in a stream of references: after this many pairs of an entry; null: after the whole entry. */
export type StreamPlace = { entry: string; pairs: number | null }

/** A reader's places in both streams of a tenant, that of events and that of chunks; null: before the first. */
export type Position = { events: StreamPlace | null; deltas: StreamPlace | null }

/** `<ms>-<n>` is Redis' id of an entry. `.` and a number follow if only so many of its events are read. `~` separates the place among chunks. */
const PLACE = String.raw`\d{1,15}(?:-\d{1,15}(?:\.\d{1,6})?)?`
const CURSOR_PATTERN = new RegExp(`^${PLACE}(?:~${PLACE})?$`)

const START: StreamPlace = { entry: '0-0', pairs: null }

/** Parses a cursor; '' is the beginning. Null: this server did not create it. */
export function parseCursor(text: string): Position | null {
  if (text === '') return { events: null, deltas: null }
  if (!CURSOR_PATTERN.test(text)) return null
  const [events, deltas] = text.split('~')
  return { events: parsePlace(events!), deltas: deltas === undefined ? null : parsePlace(deltas) }
}

/** Formats a position as a cursor for clients; see `parseCursor`. */
export function formatCursor({ events, deltas }: Position): string {
  const text = formatPlace(events ?? START)
  return deltas === null ? text : `${text}~${formatPlace(deltas)}`
}

/** The time of a place's entry, Unix ms by Redis' clock. */
export function timeOfPlace({ entry }: StreamPlace): number {
  return Number.parseInt(entry, 10)
}

function parsePlace(text: string): StreamPlace {
  const [entry, pairs] = text.split('.')
  return {
    entry: entry!.includes('-') ? entry! : `${entry}-0`,
    pairs: pairs === undefined ? null : Number(pairs),
  }
}

function formatPlace({ entry, pairs }: StreamPlace): string {
  return pairs === null ? entry : `${entry}.${pairs}`
}

/** Compares ids of entries, `<ms>-<n>`, for `Array.sort`. */
export function compareEntries(a: string, b: string): number {
  const [aMs, aCount] = a.split('-').map(Number)
  const [bMs, bCount] = b.split('-').map(Number)
  return aMs! - bMs! || aCount! - bCount!
}
