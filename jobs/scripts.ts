import { readFileSync } from 'node:fs'
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
  'recall',
  'keep',
  'statuses',
] as const
export type ScriptName = (typeof NAMES)[number]

export type Argument = string | number | Buffer
export type ScriptCall = { root: string; args: Argument[] }
type CustomCommands = Record<string, (...args: Argument[]) => Promise<unknown>>

/** Calls the scripts of `jobs/lua`. Every one takes the tenant's root as its only key and answers Buffers. */
export type Scripts = {
  run(name: ScriptName, root: string, args: Argument[]): Promise<unknown>
  /** Calls a script once for each list of arguments, in one round trip; answers in their order, or throws the first error. */
  runAll(name: ScriptName, calls: readonly ScriptCall[]): Promise<unknown[]>
}

/** Registers the scripts with a connection, which sends them by digest and loads them where they are missing. */
export function createScripts(redis: RedisClient): Scripts {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  const common = read('common')
  for (const name of NAMES) {
    redis.defineCommand(commandOf(name), { numberOfKeys: 1, lua: `${common}\n${read(name)}` })
  }
  const send = (to: unknown, name: ScriptName, { root, args }: ScriptCall) =>
    (to as CustomCommands)[`${commandOf(name)}Buffer`]!(root, ...args)
  return {
    run: (name, root, args) => send(redis, name, { root, args }),
    async runAll(name, calls) {
      // Making a pipeline takes ioredis longer (20 to 80 µs) than most of what one call takes.
      if (calls.length === 1) return [await send(redis, name, calls[0]!)]
      const pipeline = redis.pipeline()
      for (const call of calls) send(pipeline, name, call)
      const answers = (await pipeline.exec()) ?? []
      return answers.map(([error, answer]) => {
        if (error) throw error
        return answer
      })
    },
  }
}

function commandOf(name: ScriptName): string {
  return `sluiceJob${name[0]!.toUpperCase()}${name.slice(1)}`
}
