import type { Redis } from 'ioredis'

/** What a Redis server did since its start. */
export type RedisCounts = {
  /** EVAL, EVALSHA and FCALL. */
  scriptCalls: number
  /** Of every kind, those inside of scripts included. */
  commands: number
  bytesIn: number
  bytesOut: number
  /** CPU time of the server, its background threads and children left out, ms. */
  cpuMs: number
  /** Memory in use now, bytes. */
  memory: number
}

const SCRIPT_COMMANDS = new Set(['eval', 'evalsha', 'fcall'])

export async function readCounts(redis: Redis): Promise<RedisCounts> {
  // One after the other in one round trip; the answer is a few kilobytes.
  const answers = await redis.pipeline().info('stats').info('commandstats').info('cpu').info('memory').exec()
  const [stats, commands, cpu, memory] = answers!.map(([, text]) => parseInfo(String(text)))
  let scriptCalls = 0
  let all = 0
  for (const [name, text] of commands!) {
    if (!name.startsWith('cmdstat_')) continue
    const calls = Number(/calls=(\d+)/.exec(text)?.[1] ?? 0)
    all += calls
    if (SCRIPT_COMMANDS.has(name.slice('cmdstat_'.length))) scriptCalls += calls
  }
  const seconds = (name: string) => Number(cpu!.get(name) ?? 0)
  return {
    scriptCalls,
    commands: all,
    bytesIn: Number(stats!.get('total_net_input_bytes')),
    bytesOut: Number(stats!.get('total_net_output_bytes')),
    cpuMs: (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1000,
    memory: Number(memory!.get('used_memory')),
  }
}

export function subtractCounts(after: RedisCounts, before: RedisCounts): RedisCounts {
  const names = Object.keys(after) as (keyof RedisCounts)[]
  return Object.fromEntries(names.map((name) => [name, after[name] - before[name]])) as RedisCounts
}

function parseInfo(text: string): Map<string, string> {
  const lines = text.split('\r\n').filter((line) => line.includes(':'))
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}
