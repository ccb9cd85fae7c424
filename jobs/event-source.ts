import type { EventFilter, EventReference, EventSource } from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { FILTERED, selects } from './event-filter.ts'
import type { Job, JobEvent } from './job.ts'
import type { Reader } from './read.ts'
import { isTerminalEvent, toEvent } from './record.ts'
import { bringResults } from './results.ts'

/** Events of jobs that Redis no longer has, in the order of the references; null for events that are lost. */
export type MovedEvents = (
  root: string,
  references: readonly EventReference[],
  filter: EventFilter,
) => Promise<(JobEvent | null)[]>

/**
 * An event among those of many jobs contains no result larger than this, in bytes of JSON. It contains the result's
 * address instead.
 */
export const EVENT_RESULT_BYTES = 64 * 1024

/** Reads events of jobs by their references, for groups and for whole tenants. */
export function createJobEvents(deps: {
  redis: RedisClient
  reader: Reader
  /** Null: there is no history. */
  movedEvents: MovedEvents | null
}): EventSource<JobEvent> {
  const { redis, reader, movedEvents } = deps

  /** The ids of jobs that match the filter. */
  async function select(
    root: string,
    ids: readonly string[],
    filter: EventFilter,
  ): Promise<ReadonlySet<string>> {
    const asked = FILTERED.filter((name) => filter[name] !== undefined)
    if (asked.length === 0) return new Set(ids)
    const found = await Promise.all(ids.map((id) => redis.hmget(`${root}:job:${id}`, ...asked)))
    return new Set(ids.filter((_, at) => selects(filter, (name) => found[at]![asked.indexOf(name)])))
  }

  /** A small result is part of its event. A large one would be sent to each reader of the events. */
  async function readEnded(root: string, ids: string[]): Promise<Map<string, Job>> {
    const summaries = await reader.summaries(root, ids)
    const bounds = { eachBytes: EVENT_RESULT_BYTES, allBytes: ids.length * EVENT_RESULT_BYTES }
    const jobs = await bringResults(
      { redis, answers: reader.answers, view: reader.view(root) },
      summaries,
      bounds,
    )
    return new Map(jobs.map((job) => [job.id, job]))
  }

  /** Fills in the events that Redis does not have. */
  async function addMoved(
    root: string,
    references: readonly EventReference[],
    filter: EventFilter,
    events: (JobEvent | null)[],
  ): Promise<(JobEvent | null)[]> {
    if (movedEvents === null) return events
    const missing = references.filter((_, index) => events[index] === null)
    if (missing.length === 0) return events
    const found = await movedEvents(root, missing, filter)
    let next = 0
    return events.map((event) => event ?? found[next++]!)
  }

  return {
    async resolve(root, references, filter) {
      const wanted = await select(root, [...new Set(references.map(({ id }) => id))], filter)
      const texts = await Promise.all(
        references.map(async ({ id, seq }) =>
          wanted.has(id) ? redis.lindex(`${root}:job:${id}:events`, seq - 1) : null,
        ),
      )
      const ended = references.filter((_, index) => isTerminalText(texts[index]!))
      const jobs = await readEnded(root, [...new Set(ended.map(({ id }) => id))])
      const events = references.map(({ id, seq }, index) => {
        const text = texts[index]!
        // The job was deleted meanwhile.
        if (text === null || (isTerminalText(text) && !jobs.has(id))) return null
        return toEvent(id, seq, text, () => jobs.get(id)!, reader.view(root))
      })
      return addMoved(root, references, filter, events)
    },
  }
}

function isTerminalText(text: string | null): boolean {
  return text !== null && isTerminalEvent(JSON.parse(text).event)
}
