import type { LaunchOrder } from '../../schedules/launch.ts'
import { ApiError } from '../errors.ts'

/** Metadata members that a schedule sets for its jobs and flows. */
const OWN = ['schedule', 'scheduled_for'] as const

/** @param place path of the metadata's owner: `job` or `flow` */
export function refuseOwnMetadata(
  metadata: Record<string, string> | null | undefined,
  place: 'job' | 'flow',
): void {
  for (const name of OWN) {
    if (!metadata || !Object.hasOwn(metadata, name)) continue
    const param = `${place}.metadata.${name}`
    throw new ApiError('invalid_request', `${param}: is set by the schedule`, { param })
  }
}

export function toOwnMetadata(
  metadata: Record<string, string> | null | undefined,
  { schedule, scheduledFor }: Pick<LaunchOrder, 'schedule' | 'scheduledFor'>,
): Record<string, string> {
  return { ...metadata, schedule, scheduled_for: new Date(scheduledFor).toISOString() }
}
