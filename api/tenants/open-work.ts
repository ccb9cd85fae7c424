import { isOver as isBatchOver } from '../../batches/batch.ts'
import type { ApiStore, TenantAccess } from '../deps.ts'

/** Counting stops at this number, which is then shown as "at least". */
const LOOKED_AT = 100

/** What a tenant has that has not ended, for people: `3 open jobs, 1 schedule`; null: nothing. */
export async function describeOpenWork(
  tenant: string,
  deps: { tenants: Pick<TenantAccess, 'stats'>; store: Pick<ApiStore, 'flows' | 'batches' | 'schedules'> },
): Promise<string | null> {
  const [stats, running, waiting, batches, schedules] = await Promise.all([
    deps.tenants.stats.read([tenant]),
    deps.store.flows.list(tenant, { status: 'running' }, LOOKED_AT),
    deps.store.flows.list(tenant, { status: 'waiting' }, LOOKED_AT),
    deps.store.batches.list(tenant, { limit: LOOKED_AT, after: null }),
    deps.store.schedules.list(tenant, { limit: LOOKED_AT, after: null }),
  ])
  const { scheduled, queued, running: called } = stats[0]!.counts
  const found = [
    count(scheduled + queued + called, 'open job'),
    count(running.data.length + waiting.data.length, 'open flow'),
    count(batches.batches.filter(({ status }) => !isBatchOver(status)).length, 'open batch', 'open batches'),
    count(schedules.schedules.length, 'schedule'),
  ]
  return found.filter((one) => one !== null).join(', ') || null
}

function count(number: number, one: string, many = `${one}s`): string | null {
  return number === 0 ? null : `${number} ${number === 1 ? one : many}`
}
