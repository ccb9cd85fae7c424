import { defineScripts } from '../lib/define-scripts.ts'
import type { RedisClient } from '../lib/redis.ts'
import { scriptKeys } from '../lib/script-keys.ts'

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

/** Registers the scripts of `batches/lua` with a connection. Each takes the tenant's root as its key. */
export function createBatchScripts(redis: RedisClient): BatchScripts {
  const call = defineScripts(redis, new URL('./lua/', import.meta.url), 'sluiceBatch', NAMES)
  return (name, root, args) => call(name, scriptKeys(root), args)
}
