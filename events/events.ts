import { readFileSync } from 'node:fs'
import {
  deltasKey,
  type EventFilter,
  type EventReference,
  type EventSource,
  referencesKey,
} from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { SCRIPT_KEYS, scriptKeys } from '../lib/script-keys.ts'
import { formatCursor, type Position, parseCursor, timeOfPlace } from './cursor.ts'
import { type PlacedReference, type ReadEntries, readPage, type StreamEntry } from './page.ts'
import type { Tips } from './tips.ts'

/** The most entries read in one round trip. */
const PAGE = 500

/** How many events are resolved at once. */
const RESOLVED = 50

/** How far ahead of Redis' clock a cursor may be, ms: a Redis that lost its last second may have created later ones. */
const AHEAD_MS = 60_000

/** The cursor that begins with the next event. */
export const NOW = 'now'

/** An event as subscribers get it. `cursor` is the value for `Last-Event-ID`. */
export type TenantEvent = { cursor: string; event: string; data: object }

/** Events after the cursor are no longer kept. */
export class EventsExpiredError extends Error {
  override readonly name = 'EventsExpiredError'
}

/** This server did not create the cursor. */
export class ForeignCursorError extends Error {
  override readonly name = 'ForeignCursorError'
}

/** A reader's stream of a tenant's events. */
export type TenantFollowing = {
  /** Continues until the signal aborts. Throws `EventsExpiredError` if the reader is too slow. */
  events: AsyncIterable<TenantEvent>
  /** The cursor after all events that were checked, including those that the filter left out; '' before the first read. */
  cursor(): string
}

export type FollowOptions = {
  /** '': from the first event that is kept. `NOW`. Otherwise the cursor of the last event that the client has. */
  cursor: string
  filter: EventFilter
  /** True: includes the chunks of streams. */
  withDeltas: boolean
}

/** Follows all events of a tenant, in the order in which they happened. */
export type TenantEvents = {
  /** Throws `EventsExpiredError` and `ForeignCursorError`. */
  follow(tenant: string, options: FollowOptions, signal: AbortSignal): Promise<TenantFollowing>
}

type Read = (
  from: string,
  most: number,
  deltasFrom: string,
) => Promise<[StreamEntry[], StreamEntry[], number]>

/** Creates the reader of tenants' events, and registers its script with the connection. */
export function createTenantEvents(deps: {
  redis: RedisClient
  tips: Tips
  rootOf: (tenant: string) => string
  /** Sources by the prefix of ids, such as `job_`. */
  sources: Record<string, EventSource<{ event: string; data: object }>>
  /** Unix ms, by Redis' clock. */
  now: () => number
}): TenantEvents {
  const { redis, tips, rootOf, sources, now } = deps
  const lua = readFileSync(new URL('./lua/read.lua', import.meta.url), 'utf8')
  redis.defineCommand('sluiceEventsRead', { numberOfKeys: SCRIPT_KEYS, lua })
  const commands = redis as unknown as Record<string, (...args: (string | number)[]) => Promise<unknown>>
  const readOf =
    (root: string): Read =>
    (from, most, deltasFrom) =>
      commands.sluiceEventsRead!(...scriptKeys(root), from, most, deltasFrom) as ReturnType<Read>

  /** Reads at most `most` entries of each stream from a position on. Throws `EventsExpiredError`. */
  const readEntries =
    (read: Read, withDeltas: boolean): ReadEntries =>
    async (position, most) => {
      const deltasFrom = withDeltas ? (position.deltas?.entry ?? '-') : ''
      const [events, deltas, isExpired] = await read(position.events?.entry ?? '-', most, deltasFrom)
      if (isExpired === 1) throw new EventsExpiredError('events after this cursor are no longer kept')
      return { events, deltas: withDeltas ? deltas : null }
    }

  async function begin(root: string, { cursor, withDeltas }: FollowOptions): Promise<Position> {
    const newestOf = async (key: string) => {
      const [entry] = await redis.xrevrange(key, '+', '-', 'COUNT', 1)
      return { entry: entry?.[0] ?? '0-0', pairs: null }
    }
    if (cursor === NOW) {
      const [events, deltas] = await Promise.all([
        newestOf(referencesKey(root)),
        withDeltas ? newestOf(deltasKey(root)) : null,
      ])
      return { events, deltas }
    }
    const given = parseCursor(cursor)
    if (given === null) throw new ForeignCursorError('this server did not create the cursor')
    for (const place of [given.events, given.deltas]) {
      if (place !== null && timeOfPlace(place) > now() + AHEAD_MS)
        throw new ForeignCursorError('the cursor has a time in the future')
    }
    if (!withDeltas) return { events: given.events, deltas: null }
    // If the client did not ask for chunks before, it gets those from the same time on.
    return { events: given.events, deltas: given.deltas ?? given.events }
  }

  async function resolve(root: string, placed: readonly PlacedReference[], filter: EventFilter) {
    const events: ({ event: string; data: object } | null)[] = placed.map(() => null)
    const kinds = Map.groupBy(placed.keys(), (at) => /^[a-z]+_/.exec(placed[at]!.reference.id)?.[0] ?? '')
    await Promise.all(
      [...kinds].map(async ([kind, places]) => {
        const references: EventReference[] = places.map((at) => placed[at]!.reference)
        // A later release may write references of other kinds; they have no source here.
        const found = (await sources[kind]?.resolve(root, references, filter)) ?? []
        for (const [index, at] of places.entries()) events[at] = found[index] ?? null
      }),
    )
    return events
  }

  return {
    async follow(tenant, options, signal) {
      const { filter, withDeltas } = options
      const root = rootOf(tenant)
      const read = readEntries(readOf(root), withDeltas)
      let position = await begin(root, options)
      // Fails now if the stream would fail at its first read.
      if (position.events !== null) await read(position, 1)
      const isNamed = ({ reference }: PlacedReference) => filter.events?.has(reference.event) ?? true

      async function* events(): AsyncGenerator<TenantEvent> {
        const tip = tips.follow(root, withDeltas, signal)
        try {
          while (!signal.aborted) {
            await tip.next()
            let isLast = false
            while (!isLast && !signal.aborted) {
              const page = await readPage(read, position, PAGE)
              const placed = page.references.filter(isNamed)
              for (let at = 0; at < placed.length; at += RESOLVED) {
                const block = placed.slice(at, at + RESOLVED)
                const found = await resolve(root, block, filter)
                for (const [index, { position: behind }] of block.entries()) {
                  if (signal.aborted) return
                  const event = found[index]
                  if (event) yield { ...event, cursor: formatCursor(behind) }
                  position = behind
                }
              }
              position = page.end
              isLast = page.isLast
            }
          }
        } finally {
          tip.leave()
        }
      }

      return { events: events(), cursor: () => (position.events === null ? '' : formatCursor(position)) }
    },
  }
}
