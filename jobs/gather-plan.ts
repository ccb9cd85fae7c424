import type { JobType } from './job.ts'
import type { GatherPlan } from './new-job.ts'

/**
 * The form in the record, which `jobs/lua/retry.lua` reads: the time at which the job leaves (0: never), bytes, type.
 */
export function encodeGatherPlan({ type, leaveAt, bytes }: GatherPlan): string {
  return `${leaveAt === null ? 0 : Math.round(leaveAt)} ${bytes} ${type}`
}

/** Reads what `encodeGatherPlan` wrote. */
export function decodeGatherPlan(text: string): GatherPlan {
  const [leaveAt, bytes, type] = text.split(' ')
  return { type: type as JobType, leaveAt: Number(leaveAt) || null, bytes: Number(bytes) }
}
