import type { Logger } from 'pino'
import { sealedFields as ofDurableRuns } from '../durable/sealed-fields.ts'
import { sealedFields as ofFlows } from '../flows/sealed-fields.ts'
import { tenantRoot } from '../jobs/keys.ts'
import { sealedFields as ofJobs } from '../jobs/sealed-fields.ts'
import type { PeriodicTask } from '../lib/periodic-task.ts'
import type { RedisClient } from '../lib/redis.ts'
import { reseal } from '../lib/reseal.ts'
import type { Sealer } from '../lib/sealer.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import { sealedFields as ofSchedules } from '../schedules/sealed-fields.ts'

/** Interval of checks of the keys, ms. */
const LOOK_MS = 5000
/** All fields are checked again after this, ms, because another process may encrypt with the older key for a while. */
const AGAIN_MS = 10 * 60_000

const sources = { schedules: ofSchedules, jobs: ofJobs, flows: ofFlows, 'durable runs': ofDurableRuns }

/**
 * After a change of the key, encrypts again what does not expire by itself: schedules, open jobs, open flows, values of durable runs. The
 * rest expires. A task of the maintainer.
 */
export function createResealTask(deps: {
  redis: RedisClient
  sealer: Sealer
  prefix: string
  tenants: () => Promise<string[]>
  onFailure: OnUpkeepFailure
  log: Logger
}): PeriodicTask {
  const { redis, sealer, prefix, log } = deps
  let done: { key: string; at: number } | null = null

  return {
    name: 'encryption',
    everyMs: LOOK_MS,
    async run(signal) {
      const key = sealer.envelopeBegin()?.toString('hex') ?? null
      if (key === null) return
      if (done?.key === key && performance.now() - done.at < AGAIN_MS) return
      const counts = { changed: 0, unreadable: 0 }
      const visit = async (tenant: string) => {
        const root = tenantRoot(prefix, tenant)
        for (const fieldsOf of Object.values(sources)) {
          for await (const fields of fieldsOf(redis, root)) {
            if (signal.aborted) return
            const { changed, unreadable } = await reseal(redis, sealer, root, fields)
            counts.changed += changed
            counts.unreadable += unreadable
          }
        }
      }
      const fail = (error: unknown, tenant: string) => deps.onFailure({ task: 'encryption', tenant, error })
      await visitAll(await deps.tenants(), visit, fail, { atOnce: 1, endsWithStore: true })
      if (signal.aborted) return
      done = { key, at: performance.now() }
      if (counts.changed + counts.unreadable > 0)
        log.info({ key: key.slice(2), ...counts }, 'encrypted again with another key')
    },
  }
}
