import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RedisClient } from './redis.ts'
import { SCRIPT_KEYS, scriptKeys } from './script-keys.ts'

export type LuaScript = { text: string; sha: string }

/** Reads a script from its file. */
export function loadScript(file: URL): LuaScript {
  return loadScripts([file])
}

/** Reads a script from several files, shared parts first. */
export function loadScripts(files: readonly URL[]): LuaScript {
  const text = files.map((file) => readFileSync(file, 'utf8')).join('\n')
  return { text, sha: hash('sha1', text) }
}

/** Runs a script on a tenant's root by its hash. A Redis that does not know the hash yet gets the text. */
export async function runScript(
  redis: RedisClient,
  script: LuaScript,
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
