import { readFileSync } from 'node:fs'
import type { ChainableCommander } from 'ioredis'
import type { RedisClient } from '../lib/redis.ts'

const NAMES = [
  'create',
  'start',
  'finish',
  'retry',
  'cancel',
  'expire',
  'again',
  'remove',
  'delta',
  'drain',
  'reroute',
] as const
export type ScriptName = (typeof NAMES)[number]

export type Argument = string | number | Buffer
type CustomCommands = Record<string, (...args: Argument[]) => Promise<unknown>>

/** Calls the scripts of `jobs/lua`. Every one takes the tenant's root as its only key and answers Buffers. */
export type Scripts = {
  run(name: ScriptName, root: string, args: Argument[]): Promise<unknown>
  /** Queues the call on a pipeline; its answer stands in the pipeline's results. */
  queue(pipeline: ChainableCommander, name: ScriptName, root: string, args: Argument[]): void
}

/** Registers the scripts with a connection, which sends them by digest and loads them where they are missing. */
export function createScripts(redis: RedisClient): Scripts {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  const common = read('common')
  for (const name of NAMES) {
    redis.defineCommand(commandOf(name), { numberOfKeys: 1, lua: `${common}\n${read(name)}` })
  }
  return {
    run: (name, root, args) =>
      (redis as unknown as CustomCommands)[`${commandOf(name)}Buffer`]!(root, ...args),
    queue: (pipeline, name, root, args) => {
      ;(pipeline as unknown as CustomCommands)[`${commandOf(name)}Buffer`]!(root, ...args)
    },
  }
}

function commandOf(name: ScriptName): string {
  return `sluiceJob${name[0]!.toUpperCase()}${name.slice(1)}`
}
