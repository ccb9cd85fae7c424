import { randomUUID } from 'node:crypto'
import { onTestFinished } from 'vitest'
import { createMaintainerLease } from '../../jobs/maintainer-lease.ts'
import { type Maintainer, type MaintainerDeps, startMaintainer } from '../../workers/maintainer.ts'
import type { TestStore } from './store.ts'

/** A worker that stands for election; it stops with the test. Without tasks by default. */
export function standForElection(
  store: Pick<TestStore, 'redis' | 'prefix'>,
  name = 'a-worker',
  deps: Partial<MaintainerDeps> = {},
): Maintainer {
  const maintainer = startMaintainer({
    lease: createMaintainerLease({
      redis: store.redis,
      prefix: store.prefix,
      worker: randomUUID(),
      shown: name,
      leaseMs: deps.leaseMs ?? 4000,
    }),
    onChange() {},
    onError() {},
    ...deps,
  })
  onTestFinished(() => maintainer.stop())
  return maintainer
}

/** Maintains the store's tenants all the time; ends with the test. */
export function keepMaintained(store: TestStore): void {
  standForElection(store).add({ name: 'sweep', everyMs: 50, run: store.maintenance.sweep })
}
