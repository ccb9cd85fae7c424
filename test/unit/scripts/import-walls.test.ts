import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { checkImports, readImports } from '../../../scripts/check-imports.ts'
import { findImportFaults } from '../../../scripts/import-walls.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** `{ 'api/app.ts': ['../jobs/jobs.ts'] }` as modules. */
function faultsOf(house: Record<string, string[]>): string[] {
  return findImportFaults(Object.entries(house).map(([path, imports]) => ({ path, imports })))
}

describe('the walls', () => {
  test('match this repository', async () => {
    expect(await checkImports(root)).toEqual([])
  })

  test('allow imports that go down', () => {
    const house = {
      'main.ts': ['./services.ts', './cli/submit.ts', 'node:fs'],
      'services.ts': ['./api/app.ts', './workers/worker.ts', './jobs/lane-queue.ts'],
      'api/app.ts': ['./routes/jobs.ts', '../jobs/jobs.ts', 'fastify'],
      'jobs/lane-queue.ts': ['bullmq', '../config/lanes.ts', '../lib/json.ts'],
      'config/lanes.ts': ['../lib/json.ts'],
      'test/unit/a.test.ts': ['../../main.ts', '../helpers/redis.ts', 'bullmq'],
    }
    expect(faultsOf(house)).toEqual([])
  })

  test.each([
    ['api/app.ts', '../workers/worker.ts'],
    ['workers/worker.ts', '../api/app.ts'],
    ['jobs/jobs.ts', '../ratelimit/gate.ts'],
    ['ratelimit/gate.ts', '../providers/provider.ts'],
    ['providers/openai.ts', '../webhooks/sign.ts'],
    ['webhooks/sign.ts', '../files/files.ts'],
    ['config/schema.ts', '../jobs/job.ts'],
    ['lib/redis.ts', '../config/schema.ts'],
    ['cli/submit.ts', '../jobs/job.ts'],
    ['dashboard/main.ts', '../api/app.ts'],
    ['dashboard/src/main.tsx', 'react'],
    ['api/jobs/routes.ts', '../../services.ts'],
    ['services.ts', './main.ts'],
    ['main.ts', './test/helpers/redis.ts'],
    ['bench/run.ts', '../test/helpers/redis.ts'],
  ])('stop %s from importing %s', (path, name) => {
    const [fault, ...others] = faultsOf({ [path]: [name] })
    expect(fault).toMatch(new RegExp(`^${path}: \\w+ may not import `))
    expect(others).toEqual([])
  })

  test('keep BullMQ in the one file that knows it', () => {
    expect(faultsOf({ 'workers/worker.ts': ['bullmq'] })).toEqual([
      'workers/worker.ts: only jobs/lane-queue.ts may import bullmq',
    ])
  })

  test('have no place for a folder that is not in the table', () => {
    expect(faultsOf({ 'utils/misc.ts': [] })[0]).toContain('utils has no place in the house')
  })
})

describe('circles', () => {
  test('are found once each, however long, and shown in full', () => {
    const house = {
      'lib/a.ts': ['./b.ts'],
      'lib/b.ts': ['./c.ts', './d.ts'],
      'lib/c.ts': ['./a.ts'],
      'lib/d.ts': [],
    }
    expect(faultsOf(house)).toEqual(['circle: lib/a.ts → lib/b.ts → lib/c.ts → lib/a.ts'])
  })

  test('a file that is reached in two ways is not a circle', () => {
    const house = {
      'lib/a.ts': ['./b.ts', './c.ts'],
      'lib/b.ts': ['./d.ts'],
      'lib/c.ts': ['./d.ts'],
      'lib/d.ts': [],
    }
    expect(faultsOf(house)).toEqual([])
  })
})

test('every way to name a module in a file is seen, and texts that only look like one are not', () => {
  const source = `
    import type { A } from './type.ts'
    import './effect.ts'
    export { b } from './named.ts'
    export * from './all.ts'
    const c = await import('./dynamic.ts')
    type D = import('./type-only.ts').D
    // import e from './comment.ts'
    const text = "import f from './string.ts'"
  `
  expect(readImports('lib/a.ts', source).sort()).toEqual([
    './all.ts',
    './dynamic.ts',
    './effect.ts',
    './named.ts',
    './type-only.ts',
    './type.ts',
  ])
})
