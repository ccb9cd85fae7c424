import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestProject } from 'vitest/node'
import { startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { startTestCluster } from './redis-cluster.ts'
import { type FoundProcess, findRunProcesses, RUN_VARIABLE } from './run-processes.ts'

declare module 'vitest' {
  interface ProvidedContext {
    redisUrl: string
    /** Nodes of the cluster that stands for the shared Redis; none: there is no such. */
    clusterUrls: string[]
  }
}

/** What a developer's shell may hold and no test may depend on. */
const SERVICE_VARIABLES = ['REDIS_URL', 'SLUICE_CONFIG', 'PORT', 'HOST', 'NODE_ENV', 'OPENAI_CUSTOM_HEADERS']

/** A process that was told to end gets this long to be gone. */
const GRACE_MS = 5_000

/** Starts the Redis that all test files share, and at the end fails the run when a process was left behind. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  for (const name of SERVICE_VARIABLES) delete process.env[name]
  const run = await mkdtemp(join(tmpdir(), 'sluice-test-'))
  const redis = await startEmbeddedRedis({
    directory: join(run, 'shared-redis'),
    log: (line) => console.error(line),
    extraArgs: ['--appendonly', 'no'],
  })
  project.provide('redisUrl', redis.url)
  const cluster = process.env.SLUICE_TEST_CLUSTER === '1' ? await startTestCluster() : null
  project.provide('clusterUrls', cluster?.urls ?? [])
  // Set after the shared Redis has started, which is none of the tests' processes.
  process.env[RUN_VARIABLE] = run
  // Some hundred processes of ours start in a run; compiled once, each starts in half of the time.
  process.env.NODE_COMPILE_CACHE = join(run, 'compile-cache')

  return async () => {
    await cluster?.close()
    await redis.close()
    const left = await waitForEnd(run)
    for (const { pid } of left) killQuietly(pid)
    // What ends just now may still write into the folder of compiled code.
    await rm(run, { recursive: true, force: true, maxRetries: 10 })
    if (left.length === 0) return
    process.exitCode = 1
    const lines = left.map(({ pid, command }) => `  ${pid}: ${command}`).join('\n')
    throw new Error(`tests left processes behind:\n${lines}`)
  }
}

async function waitForEnd(run: string): Promise<FoundProcess[]> {
  const deadline = performance.now() + GRACE_MS
  for (;;) {
    const left = (await findRunProcesses(run)).filter(({ command }) => !isTestWorker(command))
    if (left.length === 0 || performance.now() > deadline) return left
    await sleep(50)
  }
}

/** Vitest ends its own workers, and what watches over them, after this or before. */
function isTestWorker(command: string): boolean {
  return command.includes('/vitest/dist/workers/') || /^(?:node \()?vitest\b/.test(command)
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended in the meantime.
  }
}
