import { readFileSync } from 'node:fs'
import type { RedisClient } from '../lib/redis.ts'
import { SCRIPT_KEYS, scriptKeys } from '../lib/script-keys.ts'

const NAMES = ['create', 'change', 'remove', 'claim', 'settle', 'postpone', 'note'] as const
type ScriptName = (typeof NAMES)[number]
type Argument = string | number | Buffer

export type ScheduleScripts = (name: ScriptName, root: string, args: readonly Argument[]) => Promise<unknown>

/** Registers the scripts of `schedules/lua` with a connection. Every one takes the tenant's root as its key. */
export function createScheduleScripts(redis: RedisClient): ScheduleScripts {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  const common = read('common')
  for (const name of NAMES) {
    redis.defineCommand(commandOf(name), { numberOfKeys: SCRIPT_KEYS, lua: `${common}\n${read(name)}` })
  }
  const commands = redis as unknown as Record<string, (...args: Argument[]) => Promise<unknown>>
  return (name, root, args) => commands[commandOf(name)]!(...scriptKeys(root), ...args)
}

function commandOf(name: ScriptName): string {
  return `sluiceSchedule${name[0]!.toUpperCase()}${name.slice(1)}`
}
