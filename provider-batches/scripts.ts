import { defineScripts } from '../lib/define-scripts.ts'
import type { RedisClient } from '../lib/redis.ts'
import { scriptKeys } from '../lib/script-keys.ts'

const NAMES = ['add', 'look', 'drop', 'cut', 'change', 'note', 'settle', 'lease', 'hold'] as const
type ScriptName = (typeof NAMES)[number]

export type ProviderBatchScripts = (
  name: ScriptName,
  root: string,
  args: (string | number)[],
) => Promise<unknown>

/** Registers the scripts of `provider-batches/lua` with a connection. Each takes a lane's root as its key. */
export function createProviderBatchScripts(redis: RedisClient): ProviderBatchScripts {
  const call = defineScripts(redis, new URL('./lua/', import.meta.url), 'sluiceProviderBatch', NAMES)
  return (name, root, args) => call(name, scriptKeys(root), args)
}
