import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RedisClient } from '../lib/redis.ts'

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
  try {
    return await redis.evalsha(script.sha, 1, root, ...args)
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
    return await redis.eval(script.text, 1, root, ...args)
  }
}
