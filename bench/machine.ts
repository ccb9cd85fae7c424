import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, totalmem, type } from 'node:os'
import type { Redis } from 'ioredis'

/** What the numbers of a run depend on besides the code. */
export type Machine = {
  cpu: string
  cores: number
  memoryGiB: number
  os: string
  node: string
  redis: string
  packages: Record<string, string>
  /** Processes that wanted to run in the minute before the bench, on average; 0 on a machine that did nothing else. */
  loadBefore: number
}

/** The commit that was measured; `-changed` when the working tree differed from it, `unknown` outside of a clone. */
export function readCommit(): string {
  try {
    const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe' }).trim()
    const changed = git('status', '--porcelain', '--', '.', ':!bench/results').length > 0
    return `${git('rev-parse', '--short=10', 'HEAD')}${changed ? '-changed' : ''}`
  } catch {
    return 'unknown'
  }
}

/** Call it before anything is measured. */
export async function readMachine(redis: Redis): Promise<Machine> {
  const processors = cpus()
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: type(),
    node: process.versions.node,
    redis: /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? 'unknown',
    loadBefore: Number(loadavg()[0]!.toFixed(2)),
    packages: readVersions(['bullmq', 'ioredis', 'openai', 'undici', 'fastify']),
  }
}

function readVersions(names: string[]): Record<string, string> {
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  )
  const versions = { ...devDependencies, ...dependencies }
  return Object.fromEntries(names.map((name) => [name, versions[name]]))
}
