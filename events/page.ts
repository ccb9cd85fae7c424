import type { EventReference } from '../lib/event-references.ts'
import { compareEntries, type Position, type StreamPlace } from './cursor.ts'

/** An entry of a stream as XRANGE returns it. */
export type StreamEntry = [id: string, fields: string[]]

/** A reference, and the position of a reader that has its event. */
export type PlacedReference = { reference: EventReference; position: Position }

type PageItem = { reference: EventReference; place: StreamPlace }

const DELTA = 'job.delta'

type Page = { references: PlacedReference[]; end: Position; isLast: boolean }

/** Reads at most `most` entries of each stream, from those of the position on. `deltas` null: chunks are not asked for. */
export type ReadEntries = (
  position: Position,
  most: number,
) => Promise<{ events: StreamEntry[]; deltas: StreamEntry[] | null }>

/** How many times its size a page may grow if all its entries have the same time. */
const MOST_GROWTH = 16

/**
 * Reads the next page after `position`. If all entries of a page have the same time, their order among the two streams is not known,
 * and it reads more. Redis gives one time to all that a script writes, and to everything while its clock is behind an earlier time.
 * Because of the second case, the growth is bounded.
 */
export async function readPage(read: ReadEntries, position: Position, size: number): Promise<Page> {
  for (let most = size; ; most *= 2) {
    const { events, deltas } = await read(position, most)
    const page = toPage(position, events, deltas, most, most >= size * MOST_GROWTH)
    if (page !== null) return page
  }
}

/**
 * Orders the references of one read that come after `position`. Null: the whole page has one time, and `isLongest` is false.
 *
 * References and chunks are in two streams, each in its order. Entries are compared by Redis' clock, but entries of one job by
 * `seq`, because two events may have the same time, and the clock may have gone back. `most`: the number of entries asked for. If a
 * stream has more, the page stops before the time of its last entry, because the next one may belong before it.
 */
function toPage(
  position: Position,
  events: readonly StreamEntry[],
  deltas: readonly StreamEntry[] | null,
  most: number,
  isLongest: boolean,
): Page | null {
  const start = {
    events: startOf(position.events, events),
    deltas: deltas && startOf(position.deltas, deltas),
  }
  const full = [events, deltas ?? []].filter((entries) => entries.length >= most)
  const isNew = (place: StreamPlace) => (entry: StreamEntry) =>
    entry[0] !== place.entry || place.pairs !== null
  const isShown =
    deltas === null
      ? () => true
      : showUntil(
          full,
          [...events.filter(isNew(start.events)), ...deltas.filter(isNew(start.deltas!))],
          isLongest,
        )
  if (isShown === null) return null
  const itemsOf = (entries: readonly StreamEntry[], place: StreamPlace) =>
    entries.filter(([id]) => isShown(id)).flatMap((entry) => toItems(entry, place))
  const own = itemsOf(events, start.events)
  const chunks = deltas === null ? [] : itemsOf(deltas, start.deltas!)
  let at: Position = start
  const references = [...merge(own, chunks)].map(({ item, isChunk }) => {
    at = isChunk ? { ...at, deltas: item.place } : { ...at, events: item.place }
    return { reference: item.reference, position: at }
  })
  return { references, end: at, isLast: full.length === 0 }
}

/** Decides which entries a page may show if these streams have more. Null: all entries have one time, and `isLongest` is false. */
function showUntil(
  full: readonly (readonly StreamEntry[])[],
  all: readonly StreamEntry[],
  isLongest: boolean,
): ((id: string) => boolean) | null {
  const last = full.map((entries) => entries.at(-1)![0]).sort(compareEntries)[0]
  if (last === undefined) return () => true
  const isEarlier = (id: string) => Number.parseInt(id, 10) < Number.parseInt(last, 10)
  if (all.some(([id]) => isEarlier(id))) return isEarlier
  return isLongest ? (id) => compareEntries(id, last) <= 0 : null
}

/** A reader without a place stands before the first entry that exists: earlier entries were never available. */
function startOf(place: StreamPlace | null, entries: readonly StreamEntry[]): StreamPlace {
  return place ?? { entry: entries[0]?.[0] ?? '0-0', pairs: 0 }
}

function toItems([id, fields]: StreamEntry, place: StreamPlace): PageItem[] {
  const references = fields.flatMap((field, at) => (at % 2 === 0 ? toReferences(field, fields[at + 1]!) : []))
  const items = references.map((reference, at) => ({
    reference,
    place: { entry: id, pairs: at + 1 < references.length ? at + 1 : null },
  }))
  if (id !== place.entry) return items
  return place.pairs === null ? [] : items.slice(place.pairs)
}

/** Parses `<seq> <name>`, or for chunks `<seq> <count>`. */
function toReferences(id: string, text: string): EventReference[] {
  const blank = text.indexOf(' ')
  const seq = Number(text.slice(0, blank))
  const rest = text.slice(blank + 1)
  if (!/^\d+$/.test(rest)) return [{ id, seq, event: rest }]
  return Array.from({ length: Number(rest) }, (_, at) => ({ id, seq: seq + at, event: DELTA }))
}

function* merge(events: PageItem[], chunks: PageItem[]): Generator<{ item: PageItem; isChunk: boolean }> {
  const [eventsLeft, chunksLeft] = [countLeft(events), countLeft(chunks)]
  let [event, chunk] = [0, 0]
  while (event < events.length || chunk < chunks.length) {
    const [own, other] = [events[event], chunks[chunk]]
    const isChunk =
      own === undefined ||
      (other !== undefined &&
        (isHeldUp(own, chunksLeft) ||
          (!isHeldUp(other, eventsLeft) && compareEntries(other.place.entry, own.place.entry) < 0)))
    const item = isChunk ? other! : own!
    const left = isChunk ? chunksLeft : eventsLeft
    left.get(item.reference.id)!.shift()
    if (isChunk) chunk++
    else event++
    yield { item, isChunk }
  }
}

/** The numbers of the remaining items of each object, the lowest first. */
function countLeft(items: readonly PageItem[]): Map<string, number[]> {
  const left = new Map<string, number[]>()
  for (const { reference } of items) {
    const known = left.get(reference.id)
    if (known === undefined) left.set(reference.id, [reference.seq])
    else known.push(reference.seq)
  }
  return left
}

/** True if the other stream still has an earlier event of the same object. */
function isHeldUp({ reference }: PageItem, left: Map<string, number[]>): boolean {
  const next = left.get(reference.id)?.[0]
  return next !== undefined && next < reference.seq
}
