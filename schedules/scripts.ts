import { defineScripts, type ScriptArgument } from '../lib/define-scripts.ts'
import type { RedisClient } from '../lib/redis.ts'
import { scriptKeys } from '../lib/script-keys.ts'

const NAMES = ['create', 'change', 'remove', 'claim', 'settle', 'postpone', 'note'] as const
type ScriptName = (typeof NAMES)[number]

export type ScheduleScripts = (
  name: ScriptName,
  root: string,
  args: readonly ScriptArgument[],
) => Promise<unknown>

/** Registers the scripts of `schedules/lua` with a connection. Each script takes the tenant's root as its key. */
export function createScheduleScripts(redis: RedisClient): ScheduleScripts {
  const call = defineScripts(redis, new URL('./lua/', import.meta.url), 'sluiceSchedule', NAMES)
  return (name, root, args) => call(name, scriptKeys(root), args)
}
