import { defineScripts, type ScriptArgument } from '../lib/define-scripts.ts'
import { withEventReferences } from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type FollowedKind, scriptKeys } from '../lib/script-keys.ts'

const NAMES = ['create', 'claim', 'advance', 'signal', 'cancel', 'retry', 'remove', 'forget'] as const
type ScriptName = (typeof NAMES)[number]

/** Calls a script of `flows/lua`. Each script takes the tenant's root as its key. */
export type FlowScripts = (name: ScriptName, root: string, args: ScriptArgument[]) => Promise<unknown>

/**
 * Registers the scripts with a connection.
 *
 * @param following returns what is followed of a tenant's events, by the tenant's root
 */
export function createFlowScripts(
  redis: RedisClient,
  following: (root: string) => FollowedKind,
): FlowScripts {
  const call = defineScripts(redis, new URL('./lua/', import.meta.url), 'sluiceFlow', NAMES, {
    join: (common, own) => withEventReferences([common], own),
  })
  return (name, root, args) => call(name, scriptKeys(root, following(root)), args)
}
