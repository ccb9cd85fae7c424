import { readFileSync } from 'node:fs'
import { withEventReferences } from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type FollowedKind, SCRIPT_KEYS, scriptKeys } from '../lib/script-keys.ts'

const NAMES = [
  'create',
  'start',
  'finish',
  'requeue',
  'cancel',
  'cancel-many',
  'expire',
  'retry',
  'remove',
  'retire',
  'delta',
  'finish-followers',
  'queued',
  'due',
  'reroute',
  'leave-batch',
  'get-embeddings',
  'set-embeddings',
  'renew',
  'statuses',
  'tenant-stats',
  'select',
  'regroup',
  'set-group-budget',
  'book-call',
  'models',
  'submission',
  'history-due',
  'history-read',
  'history-mark',
  'history-restore',
] as const
export type ScriptName = (typeof NAMES)[number]

/** Scripts that forget jobs share a part of their own. */
const PARTS: Partial<Record<ScriptName, string>> = { remove: 'forget', retire: 'forget' }

export type Argument = string | number | Buffer
export type ScriptCall = { root: string; args: Argument[] }
type CustomCommands = Record<string, (...args: Argument[]) => Promise<unknown>>

/** Calls the scripts of `jobs/lua`. Every one takes the tenant's root as its key and answers Buffers. */
export type Scripts = {
  run(name: ScriptName, root: string, args: Argument[]): Promise<unknown>
  /** Calls a script once for each list of arguments, in one write; answers in their order, or throws the first error. */
  runAll(name: ScriptName, calls: readonly ScriptCall[]): Promise<unknown[]>
  /** The same, with each call's own answer or error. */
  settleAll(name: ScriptName, calls: readonly ScriptCall[]): Promise<PromiseSettledResult<unknown>[]>
}

/** The scripts by their names, as they are sent. */
export function readScripts(): Map<ScriptName, string> {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  const common = read('common')
  return new Map(
    NAMES.map((name) => {
      const part = PARTS[name]
      const shared = [common, ...(part === undefined ? [] : [read(part)])]
      const writers = ['write_fair_keys', 'write_accounts', 'write_gathered', 'write_learned']
      return [name, withEventReferences(shared, read(name), writers, 'with_released(answer_of_script)')]
    }),
  )
}

/**
 * Registers the scripts with a connection, which sends them by digest and loads them where they are missing.
 *
 * @param following what of the events of the tenant with this root somebody follows; without it nobody is known to
 * @param onReleased hears of parked jobs whose turn a script gave them: they are in the outbox. Without it the sweeper queues them
 * @param keepsHistory ended jobs are to be copied to the history
 */
export function createScripts(
  redis: RedisClient,
  following: (root: string) => FollowedKind = () => 'nothing',
  onReleased: (root: string, ids: string[]) => void = () => {},
  keepsHistory = false,
): Scripts {
  for (const [name, lua] of readScripts()) {
    redis.defineCommand(commandOf(name), { numberOfKeys: SCRIPT_KEYS, lua })
  }
  const commands = redis as unknown as CustomCommands
  const run: Scripts['run'] = async (name, root, args) => {
    const answer = await commands[`${commandOf(name)}Buffer`]!(
      ...scriptKeys(root, following(root), keepsHistory),
      ...args,
    )
    if (!hasReleased(answer)) return answer
    const [, ids, own] = answer
    onReleased(root, ids.toString().split(' '))
    return own
  }
  return {
    run,
    settleAll: (name, calls) => Promise.allSettled(calls.map(({ root, args }) => run(name, root, args))),
    runAll: (name, calls) => Promise.all(calls.map(({ root, args }) => run(name, root, args))),
  }
}

/** Whether a script has released parked jobs (`with_released` in lua/common.lua). */
function hasReleased(answer: unknown): answer is [Buffer, Buffer, unknown] {
  return Array.isArray(answer) && answer.length === 3 && String(answer[0]) === 'released'
}

function commandOf(name: ScriptName): string {
  return `sluiceJob${name[0]!.toUpperCase()}${name.slice(1)}`
}
