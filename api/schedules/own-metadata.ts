import type { LaunchOrder } from '../../schedules/launch.ts'
import { ApiError } from '../errors.ts'

/** Members of the metadata of its jobs and flows that a schedule sets. */
const OWN = ['schedule', 'scheduled_for'] as const

/** @param place where the metadata stands: `job` or `flow` */
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
