import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'

type Argument = string | number

/** The gate's scripts as functions. Each takes the number of its keys, then the keys and arguments named at the top of its file in `lua/`. */
export type Scripts = {
  take(...args: Argument[]): Promise<[waitMs: number, waitingFor: string, ...permits: string[]]>
  settle(...args: Argument[]): Promise<unknown>
  renew(...args: Argument[]): Promise<unknown>
  pause(...args: Argument[]): Promise<unknown>
  retry(...args: Argument[]): Promise<number[]>
  read(...args: Argument[]): Promise<string>
  forget(...args: Argument[]): Promise<number>
}

/** Registers the scripts with the connection: it sends their hashes, and their text if Redis does not know them. */
export function defineScripts(redis: Redis | Cluster): Scripts {
  const common = readLua('common')
  const commands = redis as unknown as Record<string, (...args: Argument[]) => Promise<never>>
  const define = (name: string, part = '') => {
    const command = `sluiceGate:${name}`
    redis.defineCommand(command, { lua: `${common}\n${part}${readLua(name)}` })
    return (...args: Argument[]) => commands[command]!(...args)
  }
  return {
    take: define('take', `${readLua('grant')}\n`),
    settle: define('settle'),
    renew: define('renew'),
    pause: define('pause'),
    retry: define('retry'),
    read: define('read'),
    forget: define('forget'),
  }
}

/**
 * Lua for a script of another part that takes permits beside its own work: `open_gate(KEYS, ARGV)`, with the keys and arguments of
 * `Gate.prepareTake`, answers two functions. `take(cost, caller)` answers a permit, or nil where the call has to wait, and `save()` writes
 * what was decided: call it in any case. Such a script touches two hash tags, so it is for a Redis that is no cluster.
 */
export function readGateFunction(): string {
  return [
    'local function open_gate(KEYS, ARGV)',
    readLua('common'),
    readLua('grant'),
    'local function take(cost, caller)',
    '  local wait, _, source = refuse(cost, caller)',
    '  if not wait then return grant(cost, caller, source) end',
    'end',
    'return take, saveBuckets',
    'end',
  ].join('\n')
}

function readLua(name: string): string {
  return readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
}
