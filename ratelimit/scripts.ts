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
  const define = (name: string) => {
    const command = `sluiceGate:${name}`
    redis.defineCommand(command, { lua: `${common}\n${readLua(name)}` })
    return (...args: Argument[]) => commands[command]!(...args)
  }
  return {
    take: define('take'),
    settle: define('settle'),
    renew: define('renew'),
    pause: define('pause'),
    retry: define('retry'),
    read: define('read'),
    forget: define('forget'),
  }
}

function readLua(name: string): string {
  return readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
}
