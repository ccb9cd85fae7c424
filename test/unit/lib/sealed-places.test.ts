import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** What each file encrypts, and what happens to it when the key is changed: it expires, or is encrypted again. */
const known: Record<string, { calls: number; ends: string }> = {
  'durable/store.ts': { calls: 1, ends: 'again: durable/sealed-fields.ts' },
  'files/objects.ts': { calls: 1, ends: 'files.retain, or expires_after' },
  'files/store.ts': { calls: 1, ends: 'files.retain, or expires_after' },
  'flows/advance.ts': { calls: 1, ends: 'the output: jobs.retain' },
  'flows/look.ts': { calls: 1, ends: 'errors: jobs.retain' },
  'flows/store.ts': { calls: 2, ends: 'again: flows/sealed-fields.ts' },
  'flows/visit-steps.ts': { calls: 1, ends: 'again: flows/sealed-fields.ts' },
  'jobs/embedding-cache.ts': { calls: 1, ends: 'cache.ttl' },
  'jobs/finish.ts': { calls: 2, ends: 'results and errors: jobs.retain and cache.ttl' },
  'jobs/submission.ts': { calls: 2, ends: 'again: jobs/sealed-fields.ts' },
  'jobs/work.ts': { calls: 1, ends: 'chunks: jobs.retain' },
  'schedules/record.ts': { calls: 1, ends: 'again: schedules/sealed-fields.ts' },
}

it('for everything that is encrypted it is known how it outlives its key, or ends before', () => {
  const found: Record<string, number> = {}
  const folders =
    '{api,batches,durable,events,files,flows,jobs,lib,provider-batches,providers,ratelimit,schedules,services,simulator,telemetry,tenants,webhooks,workers}'
  for (const path of globSync(`${folders}/**/*.ts`, { cwd: root })) {
    if (['jobs/at-rest.ts', 'lib/reseal.ts', 'lib/sealer.ts'].includes(path)) continue
    const calls = readFileSync(join(root, path), 'utf8').match(/\b(?:sealer|atRest)\.seal\w*\(/g)
    if (calls !== null) found[path] = calls.length
  }
  expect(found).toEqual(Object.fromEntries(Object.entries(known).map(([path, { calls }]) => [path, calls])))
  for (const { ends } of Object.values(known)) {
    const [, path] = /^again: (\S+\.ts)/.exec(ends) ?? []
    if (path !== undefined)
      expect(readFileSync(join(root, path), 'utf8')).toContain('function* sealedFields(')
  }
})
