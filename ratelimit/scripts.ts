import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'
import type { TakeReply } from './take-script.ts'

type Argument = string | number
/** The number of keys, the keys, and the arguments that every script begins with, as `addressBuckets` answers them. */
type Address = readonly Argument[]

/** The gate's scripts as functions. Each file in `lua/` documents what its script does and answers. */
export type Scripts = {
  /** @param requests as `encodeRequests` answers them */
  take(address: Address, asked: { leaseMs: number; requests: readonly Argument[] }): Promise<TakeReply>
  /** @param bookings as `encodeBookings` answers them */
  settle(address: Address, bookings: readonly Argument[]): Promise<unknown>
  renew(address: Address, lease: { leaseMs: number; permits: readonly string[] }): Promise<unknown>
  pause(address: Address, pause: { forMs: number; reason: string }): Promise<unknown>
  /** Runs `lua/pause.lua` with '' in place of the time. */
  resume(address: Address): Promise<unknown>
  /** @param retries their tenant is '' where they have none; answers the delay of each, ms */
  retry(address: Address, retries: { count: number; tenant: string }): Promise<number[]>
  /** Answers the JSON that `readLaneState` reads. */
  read(address: Address): Promise<string>
  /** Answers 1 where the keys are deleted, 0 where some stay for a while. */
  forget(address: Address): Promise<number>
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
  const take = define('take', `${readLua('grant')}\n`)
  const settle = define('settle')
  const renew = define('renew')
  const pause = define('pause')
  const retry = define('retry')
  const read = define('read')
  const forget = define('forget')
  return {
    take: (address, { leaseMs, requests }) => take(...address, leaseMs, ...requests),
    settle: (address, bookings) => settle(...address, ...bookings),
    renew: (address, { leaseMs, permits }) => renew(...address, leaseMs, ...permits),
    pause: (address, { forMs, reason }) => pause(...address, forMs, reason),
    resume: (address) => pause(...address, '', ''),
    retry: (address, { count, tenant }) => retry(...address, count, tenant),
    read: (address) => read(...address),
    forget: (address) => forget(...address),
  }
}

/**
 * Lua for a script of another part that takes permits beside its own work: `open_gate(KEYS, ARGV)`, with the keys and arguments of
 * `Gate.prepareTake`, answers two functions. `take(cost, caller)` answers a permit, or nil where the call has to wait. `save()` writes
 * the decisions: always call it. This script touches two hash tags, so it is for a Redis that is not a cluster.
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
