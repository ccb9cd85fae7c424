import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Files that take 10 s and more, the longest first. In CI nothing is known of earlier runs, and vitest starts the largest files first:
 * a short file that takes long would begin last, and two of three workers would wait for it.
 */
export const LONG_FILES = [
  'e2e/dashboard',
  'e2e/cli',
  'contract/ratelimit-properties',
  'e2e/limits',
  'e2e/docs-commands',
  'e2e/npm-package',
  'e2e/batches',
  'integration/batches/crash',
  'e2e/examples',
  'integration/history/jobs',
  'integration/fair/poison',
  'e2e/clocks',
  'e2e/faults',
  'integration/scripts/bootstrap',
  'integration/redis-client',
  'e2e/long-turns',
  'e2e/dashboard-tenants',
  'integration/provider-batches/provider-batches',
  'integration/cluster/moving-slots',
  'e2e/bench-door',
  'e2e/crash',
  'e2e/redis-states',
  'integration/workers/leases',
  'integration/fair/turns',
  'e2e/media',
  'integration/api/bulk',
  'e2e/blocked-worker',
  'e2e/coalescing',
  'e2e/encryption',
  'e2e/openai-responses',
  'integration/api/files',
  'e2e/anthropic',
  'e2e/client',
  'integration/security/fuzz',
  'clients/openapi-document',
  'integration/cluster/service',
  'integration/batches/endings',
  'clients/openai',
  'e2e/flows',
  'e2e/spool',
  'contract/files/file-stores',
  'integration/workers/heartbeat',
  'e2e/refusals',
  'e2e/schedules',
  'integration/workers/many-lanes',
  'e2e/throttled-route',
  'e2e/demo',
  'e2e/bench',
  'e2e/events',
]

/** Short files that come behind each long one: those start processes of their own, and three of them at once would have too few cores. */
const SHORT_BETWEEN = 3

/** Starts the long files early, so that the end of a run keeps all workers busy. */
export class LongFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return putLongFirst(await super.sort(files), ({ moduleId }) => moduleId)
  }
}

/** The files in another order: the long ones in front, the longest first, with short ones between them. */
export function putLongFirst<File>(files: readonly File[], pathOf: (file: File) => string): File[] {
  const placeOf = (file: File) =>
    LONG_FILES.findIndex((name) => pathOf(file).endsWith(`/test/${name}.test.ts`))
  const long = files.filter((file) => placeOf(file) >= 0).sort((a, b) => placeOf(a) - placeOf(b))
  const short = files.filter((file) => placeOf(file) < 0)
  return [
    ...long.flatMap((file, index) => [
      file,
      ...short.slice(index * SHORT_BETWEEN, (index + 1) * SHORT_BETWEEN),
    ]),
    ...short.slice(long.length * SHORT_BETWEEN),
  ]
}
