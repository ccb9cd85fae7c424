import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { type RedisCounts, readCounts, subtractCounts } from './redis-meter.ts'
import type { Stage } from './stage.ts'
import type { System } from './systems.ts'

/** One system's run in one round. */
export type Round = {
  jobs: number
  seconds: number
  jobsPerSecond: number
  /** What a job cost. CPU in ms by process, `redis` and `upstream` among them. */
  perJob: Omit<RedisCounts, 'cpuMs'> & { cpuMs: Record<string, number> }
}

/** Acknowledgements and clean-up after the last completion belong to the jobs. */
export const REST_MS = 300

/**
 * Sends `count` jobs through a system and answers how long they took and what they cost.
 *
 * @throws when the upstream was called more or less often than it should
 */
export async function measureRound(
  stage: Stage,
  system: System,
  first: number,
  count: number,
): Promise<Round> {
  const processes = { ...system.processes, upstream: stage.upstream }
  const readAll = async () => ({
    redis: await readCounts(stage.redis),
    calls: await countCalls(stage),
    cpu: await Promise.all(Object.values(processes).map((one) => one.cpuMs())),
  })
  const before = await readAll()
  const { startedAt, endedAt } = await system.run(first, count)
  await sleep(REST_MS)
  const after = await readAll()

  const calls = after.calls - before.calls
  if (calls !== count * system.callsPerJob)
    throw new Error(`${system.title}: ${count} jobs took ${calls} calls of the upstream`)
  const { cpuMs: redisCpu, ...counts } = subtractCounts(after.redis, before.redis)
  const cpu = Object.keys(processes).map(
    (name, index) => [name, after.cpu[index]! - before.cpu[index]!] as const,
  )
  const seconds = (endedAt - startedAt) / 1000
  return {
    jobs: count,
    seconds,
    jobsPerSecond: count / seconds,
    perJob: {
      ...(Object.fromEntries(
        Object.entries(counts).map(([name, value]) => [name, value / count]),
      ) as typeof counts),
      cpuMs: Object.fromEntries(
        [...cpu, ['redis', redisCpu] as const].map(([name, ms]) => [name, ms / count]),
      ),
    },
  }
}

/** Calls that the upstream has had since its start. */
export async function countCalls({ upstream }: Stage): Promise<number> {
  const { body } = await request(new URL('/_sim/state', upstream.url))
  return ((await body.json()) as { admitted_requests: number }).admitted_requests
}
