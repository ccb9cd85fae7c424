/** Where a reader stands in a stream of references: behind so many pairs of an entry; null: behind all of them. */
export type StreamPlace = { entry: string; pairs: number | null }

/** Where a reader of a tenant's events stands, among the references and among those to chunks; null: before the first. */
export type Position = { events: StreamPlace | null; deltas: StreamPlace | null }

/** `<ms>-<n>` as Redis numbers entries, behind `.` how many of its events are known, behind `~` the same of chunks. */
const PLACE = String.raw`\d{1,15}(?:-\d{1,15}(?:\.\d{1,6})?)?`
const CURSOR_PATTERN = new RegExp(`^${PLACE}(?:~${PLACE})?$`)

const START: StreamPlace = { entry: '0-0', pairs: null }

/** Null: not a cursor from here. '' is the beginning. */
export function parseCursor(text: string): Position | null {
  if (text === '') return { events: null, deltas: null }
  if (!CURSOR_PATTERN.test(text)) return null
  const [events, deltas] = text.split('~')
  return { events: parsePlace(events!), deltas: deltas === undefined ? null : parsePlace(deltas) }
}

export function formatCursor({ events, deltas }: Position): string {
  const text = formatPlace(events ?? START)
  return deltas === null ? text : `${text}~${formatPlace(deltas)}`
}

/** Unix ms of the entry, by Redis' clock. */
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

/** As Array.sort asks for; entries are `<ms>-<n>`. */
export function compareEntries(a: string, b: string): number {
  const [aMs, aCount] = a.split('-').map(Number)
  const [bMs, bCount] = b.split('-').map(Number)
  return aMs! - bMs! || aCount! - bCount!
}
