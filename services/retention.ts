import { createRetention } from '../jobs/retention.ts'
import { repeat } from '../lib/repeat.ts'
import { visitAll } from '../lib/visit-all.ts'
import type { Closers } from './closers.ts'
import type { openStore } from './store.ts'

/** Between two looks for jobs, and for files, that are kept no longer, ms. */
const LOOK_MS = 1000
const LOOK_FOR_FILES_MS = 60_000

/** Forgets jobs and files when their time is over, beside what the sweeper does, which is not to wait for it. */
export function startRetention(store: ReturnType<typeof openStore>, closers: Closers): void {
  const { onError, onFailure } = store
  const { tenants } = store.maintenance
  const retention = createRetention({
    ...store,
    tenants,
    onError: (error, tenant) => onFailure({ task: 'retention', tenant, error }),
  })

  let isStopped = false
  async function sweepFiles(): Promise<void> {
    const sweep = async (tenant: string) => {
      if (!isStopped) await store.files.sweep(tenant)
    }
    await visitAll(await tenants(), sweep, (error, tenant) => onFailure({ task: 'files', tenant, error }))
  }

  const jobs = repeat(LOOK_MS, retention.run, (error) => onError(error, 'forgetting jobs'))
  const files = repeat(LOOK_FOR_FILES_MS, sweepFiles, (error) => onError(error, 'forgetting files'))
  closers.add('the retention', async () => {
    isStopped = true
    retention.stop()
    await Promise.all([jobs.stop(), files.stop()])
  })
}
