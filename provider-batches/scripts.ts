import { readFileSync } from 'node:fs'
import type { RedisClient } from '../lib/redis.ts'
import { SCRIPT_KEYS, scriptKeys } from '../lib/script-keys.ts'

const NAMES = ['add', 'look', 'drop', 'cut', 'change', 'note', 'settle', 'lease', 'hold'] as const
type ScriptName = (typeof NAMES)[number]

export type ProviderBatchScripts = (
  name: ScriptName,
  root: string,
  args: (string | number)[],
) => Promise<unknown>

/** Registers the scripts of `provider-batches/lua` with a connection. Every one takes a lane's root as its key. */
export function createProviderBatchScripts(redis: RedisClient): ProviderBatchScripts {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  const common = read('common')
  for (const name of NAMES) {
    redis.defineCommand(commandOf(name), { numberOfKeys: SCRIPT_KEYS, lua: `${common}\n${read(name)}` })
  }
  const commands = redis as unknown as Record<string, (...args: (string | number)[]) => Promise<unknown>>
  return (name, root, args) => commands[commandOf(name)]!(...scriptKeys(root), ...args)
}

function commandOf(name: ScriptName): string {
  return `sluiceProviderBatch${name[0]!.toUpperCase()}${name.slice(1)}`
}
