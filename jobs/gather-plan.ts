import type { JobType } from './job.ts'
import type { GatherPlan } from './jobs.ts'

/** As the record has it, and `jobs/lua/retry.lua` reads it: when it leaves (0: it need not), bytes, type. */
export function encodeGatherPlan({ type, leaveAt, bytes }: GatherPlan): string {
  return `${leaveAt === null ? 0 : Math.round(leaveAt)} ${bytes} ${type}`
}

export function decodeGatherPlan(text: string): GatherPlan {
  const [leaveAt, bytes, type] = text.split(' ')
  return { type: type as JobType, leaveAt: Number(leaveAt) || null, bytes: Number(bytes) }
}
