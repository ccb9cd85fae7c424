import type { RedisClient } from '../lib/redis.ts'
import type { NewJob } from './new-job.ts'
import type { Scripts } from './scripts.ts'

/**
 * How long a name counts after its last use, ms. It must be longer than a lane without work lives (workers/worker.ts).
 */
const LIFE_MS = 2 * 60_000
/** A process does not ask again about a name that was allowed within this time, ms. */
const KNOWN_MS = 30_000
/** Names that a process remembers. */
const MOST_KNOWN = 10_000

/**
 * Bounds how many models a tenant may use that the configuration does not name. Each such lane costs workers and the
 * store something.
 */
export type ModelBound = {
  /** The jobs whose lanes are too many, with the ms after which one more may be used. */
  findRefused(jobs: readonly NewJob[]): Promise<Map<NewJob, number>>
  /** The names of a provider's models that a tenant used lately. */
  list(tenant: string, provider: string): Promise<string[]>
}

export function createModelBound(deps: {
  redis: RedisClient
  scripts: Pick<Scripts, 'run'>
  rootOf: (tenant: string) => string
}): ModelBound {
  const known = new Map<string, number>()
  const nameOf = ({ tenant, lane }: NewJob) => `${tenant}\n${lane}`

  return {
    async findRefused(jobs) {
      const refused = new Map<NewJob, number>()
      const time = performance.now()
      const asking = jobs.filter(
        (job) => job.maxLanes !== undefined && !(time - (known.get(nameOf(job)) ?? -Infinity) < KNOWN_MS),
      )
      for (const group of Map.groupBy(
        asking,
        ({ tenant, lane }) => `${tenant}\n${splitLane(lane)[0]}`,
      ).values()) {
        const { tenant, lane, maxLanes } = group[0]!
        const [provider] = splitLane(lane)
        const models = [...new Set(group.map((one) => splitLane(one.lane)[1]))]
        const args = [provider, maxLanes!, LIFE_MS, ...models]
        const [waitMs, ...flags] = (await deps.scripts.run('models', deps.rootOf(tenant), args)) as number[]
        if (known.size > MOST_KNOWN) known.clear()
        for (const one of group) {
          if (flags[models.indexOf(splitLane(one.lane)[1])] === 1) known.set(nameOf(one), time)
          else refused.set(one, waitMs!)
        }
      }
      return refused
    },
    list: (tenant, provider) => deps.redis.zrange(`${deps.rootOf(tenant)}:models:${provider}`, '0', '-1'),
  }
}

function splitLane(lane: string): [provider: string, model: string] {
  const slash = lane.indexOf('/')
  return [lane.slice(0, slash), lane.slice(slash + 1)]
}
