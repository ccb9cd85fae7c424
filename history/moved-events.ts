import { selects } from '../jobs/event-filter.ts'
import type { MovedEvents } from '../jobs/event-source.ts'
import type { HistorySource } from '../jobs/history-source.ts'
import type { JobEvent, JobEventType } from '../jobs/job.ts'
import { omitResult } from '../jobs/omission.ts'
import { isoTime, isTerminalEvent, toJob, type View } from '../jobs/record.ts'
import { stringifyJson } from '../lib/json-source.ts'
import type { StoredJob, StoredJobs } from './stored-jobs.ts'

/**
 * Makes the last events of jobs that have left Redis, for followers that return after a while. The history does not keep their other
 * events. Throws `HistoryUnavailableError` if the history may have one of these jobs and the database is away.
 *
 * @param deps.mostBytes the event leaves out a larger result
 */
export function createMovedEvents(deps: {
  stored: StoredJobs
  source: Pick<HistorySource, 'known'>
  view: (root: string) => View
  mostBytes: number
}): MovedEvents {
  const { stored, source, view, mostBytes } = deps

  function toEvent(root: string, { row, record }: StoredJob): JobEvent {
    const { id, event_count: count, finished_at: at, status } = row
    const job = toJob(id, record, view(root))
    const isLarge = job.result !== null && Buffer.byteLength(stringifyJson(job.result)) > mostBytes
    const seq = Math.max(1, count)
    const data = { job_id: id, seq, at: isoTime(at), job: isLarge ? omitResult(job) : job }
    return { cursor: String(seq), event: `job.${status}` as JobEventType, data }
  }

  return async (root, references, filter) => {
    // References of a group do not name their events.
    const ends = references.filter(({ event }) => event === '' || isTerminalEvent(event as JobEventType))
    const asked = [...new Set(ends.map(({ id }) => id))]
    // Redis itself answers for jobs that it has or that were deleted.
    const known = await source.known(root, asked)
    const ids = asked.filter((id) => !known.has(id))
    if (ids.length === 0) return references.map(() => null)
    const found = await stored.records(root, ids, { results: true })
    return references.map(({ id, seq, event }) => {
      const one = found.get(id)
      // The history does not keep an earlier end, from before the job was queued again.
      if (one === undefined || seq !== Math.max(1, one.row.event_count)) return null
      if (event !== '' && event !== `job.${one.row.status}`) return null
      return matches(one, filter) ? toEvent(root, one) : null
    })
  }
}

function matches({ row, record }: StoredJob, filter: Parameters<MovedEvents>[2]): boolean {
  const ofRow = { type: row.type, group: row.group_name, lane: row.lane }
  return selects(filter, (name) =>
    name === 'flow' || name === 'durable' ? record.get(name)?.toString() : ofRow[name],
  )
}
