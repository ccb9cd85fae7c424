import { readFileSync } from 'node:fs'
import { withEventReferences } from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type FollowedKind, SCRIPT_KEYS, scriptKeys } from '../lib/script-keys.ts'

const NAMES = ['create', 'claim', 'advance', 'signal', 'cancel', 'retry', 'remove', 'forget'] as const
type ScriptName = (typeof NAMES)[number]

/** Calls the scripts of `flows/lua`. Every one takes the tenant's root as its key. */
export type FlowScripts = (
  name: ScriptName,
  root: string,
  args: (string | number | Buffer)[],
) => Promise<unknown>

/**
 * Registers the scripts with a connection.
 *
 * @param following whether somebody follows the events of a tenant, by its root
 */
export function createFlowScripts(
  redis: RedisClient,
  following: (root: string) => FollowedKind,
): FlowScripts {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  const common = read('common')
  for (const name of NAMES) {
    redis.defineCommand(commandOf(name), {
      numberOfKeys: SCRIPT_KEYS,
      lua: withEventReferences([common], read(name)),
    })
  }
  const commands = redis as unknown as Record<
    string,
    (...args: (string | number | Buffer)[]) => Promise<unknown>
  >
  return (name, root, args) => commands[commandOf(name)]!(...scriptKeys(root, following(root)), ...args)
}

function commandOf(name: ScriptName): string {
  return `sluiceFlow${name[0]!.toUpperCase()}${name.slice(1)}`
}
