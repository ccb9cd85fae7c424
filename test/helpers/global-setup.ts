import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestProject } from 'vitest/node'
import { startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { startTestCluster } from './redis-cluster.ts'
import { type FoundProcess, findRunProcesses, RUN_VARIABLE } from './run-processes.ts'
import { chooseSeed, SEED_VARIABLE } from './seed.ts'

declare module 'vitest' {
  interface ProvidedContext {
    redisUrl: string
    /** Nodes of the cluster that replaces the shared Redis; empty: there is none. */
    clusterUrls: string[]
  }
}

/** Variables that a developer's shell may have and no test may depend on. */
const SERVICE_VARIABLES = ['REDIS_URL', 'SLUICE_CONFIG', 'PORT', 'HOST', 'NODE_ENV', 'OPENAI_CUSTOM_HEADERS']

/** Variables of this run. A test that starts `npm test` or vitest must not hand them on: it would write this run's report. */
const REPORT_VARIABLES = ['SLUICE_TEST_REPORT', 'SLUICE_TEST_IS_AGAIN']

/** A process that was asked to end gets this long to disappear. */
const GRACE_MS = 30_000

/** Starts the Redis that all test files share. At the end it fails the run if a process was left behind. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const report = process.env.SLUICE_TEST_REPORT
  for (const name of [...SERVICE_VARIABLES, ...REPORT_VARIABLES]) delete process.env[name]
  const seed = String(chooseSeed(process.env))
  // The workers inherit it.
  process.env[SEED_VARIABLE] = seed
  console.log(`${SEED_VARIABLE}=${seed} makes the same random choices again`)
  const run = await mkdtemp(join(tmpdir(), 'sluice-test-'))
  const redis = await startEmbeddedRedis({
    directory: join(run, 'shared-redis'),
    log: (line) => console.error(line),
    extraArgs: ['--appendonly', 'no'],
  })
  project.provide('redisUrl', redis.url)
  const cluster = process.env.SLUICE_TEST_CLUSTER === '1' ? await startTestCluster() : null
  project.provide('clusterUrls', cluster?.urls ?? [])
  // Set after the shared Redis has started, which does not count among the tests' processes.
  process.env[RUN_VARIABLE] = run
  // A run starts some hundred processes of ours; with compiled code each starts in half of the time.
  process.env.NODE_COMPILE_CACHE = join(run, 'compile-cache')

  return async () => {
    await cluster?.close()
    await redis.close()
    const left = await waitForEnd(run)
    for (const { pid } of left) killQuietly(pid)
    // A process that is just ending may still write into the folder of compiled code.
    await rm(run, { recursive: true, force: true, maxRetries: 10 })
    if (left.length === 0) return
    process.exitCode = 1
    // It is not known which file left them. Without a report no file runs again, and the failure stays.
    if (report !== undefined) await rm(report, { force: true })
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

/** Vitest ends its own workers, and the processes that watch over them, after this or before. */
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
