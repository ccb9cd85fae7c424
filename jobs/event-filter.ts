import type { EventFilter } from '../lib/event-references.ts'

/** The members of a filter that select by the job. */
export const FILTERED = ['type', 'group', 'lane', 'flow', 'durable'] as const
export type FilteredMember = (typeof FILTERED)[number]

/** Whether a filter selects a job. `stored` returns a member of the job's record; null or undefined if the record has none. */
export function selects(
  filter: EventFilter,
  stored: (name: FilteredMember) => string | null | undefined,
): boolean {
  return FILTERED.every((name) => filter[name] === undefined || read(name, stored(name)) === filter[name])
}

function read(name: FilteredMember, stored: string | null | undefined): string | null | undefined {
  // The id of the flow, then which job of the flow this is.
  if (name === 'flow') return stored?.split(' ')[0]
  // The digest of the run, the step, then the id of the run.
  if (name === 'durable') return stored?.split('\n')[2]
  return stored
}
