import { readFileSync } from 'node:fs'
import type { RedisClient } from '../lib/redis.ts'
import { SCRIPT_KEYS, scriptKeys } from '../lib/script-keys.ts'

const NAMES = [
  'create',
  'cancel',
  'begin',
  'open',
  'tally',
  'abort',
  'finalize',
  'finish',
  'lease',
  'remove',
] as const
type ScriptName = (typeof NAMES)[number]

export type BatchScripts = (name: ScriptName, root: string, args: (string | number)[]) => Promise<unknown>

/** Registers the scripts of `batches/lua` with a connection. Every one takes the tenant's root as its key. */
export function createBatchScripts(redis: RedisClient): BatchScripts {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  const common = read('common')
  for (const name of NAMES) {
    redis.defineCommand(commandOf(name), { numberOfKeys: SCRIPT_KEYS, lua: `${common}\n${read(name)}` })
  }
  const commands = redis as unknown as Record<string, (...args: (string | number)[]) => Promise<unknown>>
  return (name, root, args) => commands[commandOf(name)]!(...scriptKeys(root), ...args)
}

function commandOf(name: ScriptName): string {
  return `sluiceBatch${name[0]!.toUpperCase()}${name.slice(1)}`
}
