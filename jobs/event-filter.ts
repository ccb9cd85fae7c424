import type { EventFilter } from '../lib/event-references.ts'

/** Members of a filter that select jobs. */
export const FILTERED = ['type', 'group', 'lane', 'flow', 'durable'] as const
export type FilteredMember = (typeof FILTERED)[number]

/** Whether a filter selects a job with these members, as its record holds them; '' and null for those that it has not. */
export function selects(
  filter: EventFilter,
  stored: (name: FilteredMember) => string | null | undefined,
): boolean {
  return FILTERED.every((name) => filter[name] === undefined || read(name, stored(name)) === filter[name])
}

function read(name: FilteredMember, stored: string | null | undefined): string | null | undefined {
  // Behind the flow stands which job of it this is.
  if (name === 'flow') return stored?.split(' ')[0]
  // In front of the durable run stand its digest and the step.
  if (name === 'durable') return stored?.split('\n')[2]
  return stored
}
