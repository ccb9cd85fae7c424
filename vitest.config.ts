import { defineConfig } from 'vitest/config'
import { LongFilesFirst } from './test/helpers/sequencer.ts'
import { createTotalsReporter } from './test/helpers/totals-reporter.ts'

/** Fault injection takes minutes and kills things; it runs when it is asked for. */
const layers =
  process.env.SLUICE_FAULTS === '1' ? ['faults'] : ['unit', 'contract', 'integration', 'e2e', 'clients']

/** With this the shared Redis is a cluster (test/helpers/redis-cluster.ts). */
const isOnCluster = process.env.SLUICE_TEST_CLUSTER === '1'

/** Tests that have a Redis of their own in any case, or none, and those of the straight way to a worker, which a cluster has not. */
const offCluster = [
  'unit/**',
  'integration/{redis-client,gathering-redis,embedded-redis}.test.ts',
  'integration/{jobs,workers}/direct-dispatch.test.ts',
]

export default defineConfig({
  test: {
    // A busy machine can starve a real process past a time-out, and stay busy for a second try; what fails three times is broken.
    retry: process.env.CI ? 2 : 0,
    include: layers.map((layer) => `test/${layer}/**/*.test.ts`),
    exclude: ['**/node_modules/**', ...(isOnCluster ? offCluster.map((path) => `test/${path}`) : [])],
    globalSetup: ['test/helpers/global-setup.ts'],
    setupFiles: ['test/helpers/fail-on-leaks.ts', 'test/helpers/seed-properties.ts'],
    pool: 'forks',
    // Files share processes: loading the packages again for each file took a tenth of the run. `fail-on-leaks.ts` holds what a
    // file leaves behind.
    isolate: false,
    // One more than the two cores that the suite is made for: most tests wait for a timer or another process.
    maxWorkers: 3,
    sequence: { sequencer: LongFilesFirst },
    // Three times what the longest tests need on a quiet machine.
    testTimeout: 60_000,
    // What a test waits for comes in a moment, or in some seconds on a busy machine: the default of one second is for neither.
    expect: { poll: { timeout: 15_000 } },
    hookTimeout: 120_000,
    teardownTimeout: 60_000,
    reporters: ['default', createTotalsReporter()],
  },
})
