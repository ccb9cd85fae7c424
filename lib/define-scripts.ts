import { readFileSync } from 'node:fs'
import type { RedisClient } from './redis.ts'
import { SCRIPT_KEYS } from './script-keys.ts'

export type ScriptArgument = string | number | Buffer

/** Calls a script. `keys` are those of `scriptKeys`. */
export type CallScript<Name extends string> = (
  name: Name,
  keys: [string, string],
  args: readonly ScriptArgument[],
) => Promise<unknown>

/**
 * Registers the scripts of a folder with a connection. Each file `<name>.lua`, after the folder's `common.lua`, becomes a command whose
 * name begins with `prefix`.
 *
 * @param join combines the two texts of a script; by default they are concatenated
 * @param answers 'buffers': strings in answers are returned as bytes
 */
export function defineScripts<Name extends string>(
  redis: RedisClient,
  folder: URL,
  prefix: string,
  names: readonly Name[],
  {
    join = (common, own) => `${common}\n${own}`,
    answers = 'texts',
  }: { join?: (common: string, own: string) => string; answers?: 'texts' | 'buffers' } = {},
): CallScript<Name> {
  const read = (name: string) => readFileSync(new URL(`${name}.lua`, folder), 'utf8')
  const commandOf = (name: string) => `${prefix}${name[0]!.toUpperCase()}${name.slice(1)}`
  const common = read('common')
  for (const name of names) {
    redis.defineCommand(commandOf(name), { numberOfKeys: SCRIPT_KEYS, lua: join(common, read(name)) })
  }
  const commands = redis as unknown as Record<string, (...args: ScriptArgument[]) => Promise<unknown>>
  const suffix = answers === 'buffers' ? 'Buffer' : ''
  return (name, keys, args) => commands[commandOf(name) + suffix]!(...keys, ...args)
}
