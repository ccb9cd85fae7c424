import { createRetention } from '../jobs/retention.ts'
import type { Closers } from './closers.ts'
import type { openStore, ServicesDeps } from './store.ts'

/** Between two looks for what is kept no longer, ms. */
const LOOK_MS = 1000

/** Looks between two for files. */
const LOOKS_FOR_FILES = 60

/** Forgets jobs and files when their time is over, beside what the sweeper does, which is not to wait for it. */
export function startRetention(
  { log }: Pick<ServicesDeps, 'log'>,
  store: ReturnType<typeof openStore>,
  closers: Closers,
): void {
  const { tenants } = store.maintenance
  const retention = createRetention({
    ...store,
    tenants,
    onError: (error, tenant) => log.warn({ err: error, tenant }, 'forgetting jobs failed'),
  })

  let looks = 0
  let isStopped = false
  async function look(): Promise<void> {
    await retention.run()
    if (looks++ % LOOKS_FOR_FILES > 0) return
    for (const tenant of await tenants()) {
      if (isStopped) return
      await store.files
        .sweep(tenant)
        .catch((error) => log.warn({ err: error, tenant }, 'forgetting files failed'))
    }
  }

  let running: Promise<unknown> | null = null
  const timer = setInterval(() => {
    running ??= look()
      .catch((error) => log.warn({ err: error }, 'forgetting what is over failed'))
      .finally(() => {
        running = null
      })
  }, LOOK_MS)
  closers.add('the retention', async () => {
    isStopped = true
    clearInterval(timer)
    retention.stop()
    await running
  })
}
