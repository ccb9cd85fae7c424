import { readFileSync } from 'node:fs'
import { withEventReferences } from '../lib/event-references.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type FollowedKind, SCRIPT_KEYS, scriptKeys } from '../lib/script-keys.ts'

const NAMES = [
  'create',
  'create-and-start',
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
  'history-restore-delivery',
] as const
export type ScriptName = (typeof NAMES)[number]

/** Parts that come before scripts: one for scripts that delete jobs, one for those that count copies of groups. */
const PARTS: Partial<Record<ScriptName, string>> = {
  remove: 'forget',
  retire: 'forget',
  create: 'create-only',
  'create-and-start': 'start-here',
  'history-mark': 'group-copies',
  'history-restore': 'group-copies',
}

/** The files of scripts that have another name than their file. */
const FILES: Partial<Record<ScriptName, string>> = { 'create-and-start': 'create' }

/** The script that needs the gate of the rate limiter before it. */
const WITH_GATE: ScriptName = 'create-and-start'

export type Argument = string | number | Buffer
export type ScriptCall = { root: string; args: Argument[] }
type CustomCommands = Record<string, (...args: Argument[]) => Promise<unknown>>

/** Calls the scripts of `jobs/lua`. Each takes the tenant's root as its key, and answers with Buffers. */
export type Scripts = {
  run(name: ScriptName, root: string, args: Argument[]): Promise<unknown>
  /** Runs the script that takes keys of its own beside the tenant's. It is for a Redis that is not a cluster. */
  runWithKeys(name: ScriptName, call: ScriptCall & { keys: readonly string[] }): Promise<unknown>
  /**
   * Calls a script once for each list of arguments, in one write. Returns the answers in their order, or throws the
   * first error.
   */
  runAll(name: ScriptName, calls: readonly ScriptCall[]): Promise<unknown[]>
  /** The same, with an answer or an error for each call. */
  settleAll(name: ScriptName, calls: readonly ScriptCall[]): Promise<PromiseSettledResult<unknown>[]>
}

/**
 * The scripts by their names, in the form in which they are sent.
 *
 * @param gate Lua of the rate limiter's `open_gate`; null: without the script that needs it
 */
export function readScripts(gate: string | null = null): Map<ScriptName, string> {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  const common = read('common')
  return new Map(
    NAMES.filter((name) => name !== WITH_GATE || gate !== null).map((name) => {
      const part = PARTS[name]
      const before = name === WITH_GATE ? [gate!] : []
      const shared = [common, ...before, ...(part === undefined ? [] : [read(part)])]
      const writers = ['write_fair_keys', 'write_accounts', 'write_gathered', 'write_learned']
      const script = read(FILES[name] ?? name)
      return [name, withEventReferences(shared, script, writers, 'with_released(answer_of_script)')]
    }),
  )
}

/** What the scripts of a process work with. */
type ScriptOptions = {
  /** Which events of the tenant with this root have followers. */
  following: (root: string) => FollowedKind
  /** Called for parked jobs that a script released into the outbox. */
  onReleased: (root: string, ids: string[]) => void
  /** Ended jobs are copied to the history. */
  keepsHistory: boolean
  /** See `readScripts`. */
  gate: string | null
}

/** Scripts of a process that knows no follower, has no history and no gate, and leaves released jobs to the sweep. */
export const ALONE: ScriptOptions = {
  following: () => 'nothing',
  onReleased: () => {},
  keepsHistory: false,
  gate: null,
}

/** Registers the scripts with a connection. It sends them by digest, and loads those that are missing. */
export function createScripts(redis: RedisClient, options: ScriptOptions): Scripts {
  const { following, onReleased, keepsHistory, gate } = options
  for (const [name, lua] of readScripts(gate)) {
    redis.defineCommand(commandOf(name), name === WITH_GATE ? { lua } : { numberOfKeys: SCRIPT_KEYS, lua })
  }
  const commands = redis as unknown as CustomCommands
  const run: Scripts['run'] = async (name, root, args) => {
    const keys = scriptKeys(root, following(root), keepsHistory)
    return deliver(root, await commands[`${commandOf(name)}Buffer`]!(...keys, ...args))
  }
  const runWithKeys: Scripts['runWithKeys'] = async (name, { root, keys, args }) => {
    const own = scriptKeys(root, following(root), keepsHistory)
    const count = SCRIPT_KEYS + keys.length
    return deliver(root, await commands[`${commandOf(name)}Buffer`]!(count, ...own, ...keys, ...args))
  }
  /** Answers what the script itself answered, and tells of the jobs that it released. */
  function deliver(root: string, answer: unknown): unknown {
    if (!hasReleased(answer)) return answer
    const [, ids, own] = answer
    onReleased(root, ids.toString().split(' '))
    return own
  }
  return {
    run,
    runWithKeys,
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
