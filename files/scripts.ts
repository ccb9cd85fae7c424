import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RedisClient } from '../lib/redis.ts'
import { SCRIPT_KEYS, scriptKeys } from '../lib/script-keys.ts'

export type Script = { text: string; sha: string }

/** Reads one of `files/lua/`. */
export function loadScript(name: 'write' | 'seal' | 'remove'): Script {
  const text = readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  return { text, sha: hash('sha1', text) }
}

/** Runs a script on a tenant's root, by its hash; a Redis that does not know it yet gets the text. */
export async function runScript(
  redis: RedisClient,
  script: Script,
  root: string,
  args: (string | number | Buffer)[],
): Promise<unknown> {
  const keys = scriptKeys(root)
  try {
    return await redis.evalsha(script.sha, SCRIPT_KEYS, ...keys, ...args)
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
    return await redis.eval(script.text, SCRIPT_KEYS, ...keys, ...args)
  }
}
