import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { TestModule } from 'vitest/node'
import { createTotalsReporter } from '../../helpers/totals-reporter.ts'

let folder = ''
let said: string[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'totals-'))
  said = []
  vi.spyOn(console, 'log').mockImplementation((line) => said.push(line))
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true })
})

function moduleOf(path: string, ...states: ('passed' | 'failed' | 'skipped')[]): TestModule {
  return {
    moduleId: join(process.cwd(), path),
    state: () => (states.includes('failed') ? 'failed' : 'passed'),
    errors: () => [],
    children: { allTests: () => states.map((state) => ({ result: () => ({ state }) })) },
  } as unknown as TestModule
}
const end = (env: NodeJS.ProcessEnv, ...modules: TestModule[]) =>
  createTotalsReporter(env).onTestRunEnd!(modules, [], 'failed')

it('says what all tests came to, and adds the second run of a failed file to what the others came to', async () => {
  const env = { SLUICE_TEST_REPORT: join(folder, 'report.json') }
  await end(env, moduleOf('a.test.ts', 'passed', 'skipped'), moduleOf('b.test.ts', 'passed', 'failed'))
  expect(said).toEqual(['2 passed, 1 failed, 1 skipped'])
  expect(JSON.parse(readFileSync(env.SLUICE_TEST_REPORT, 'utf8')).failed).toEqual(['b.test.ts'])
  await end({ ...env, SLUICE_TEST_IS_AGAIN: '1' }, moduleOf('b.test.ts', 'passed', 'passed'))
  expect(said[1]).toBe('3 passed, 0 failed, 1 skipped')
})

it('writes no report where nobody asks for one, and names no file for an error outside of tests', async () => {
  await end({}, moduleOf('a.test.ts', 'passed'))
  expect(said).toEqual(['1 passed, 0 failed, 0 skipped'])
  const env = { SLUICE_TEST_REPORT: join(folder, 'report.json') }
  const error = { message: 'x' } as never
  await createTotalsReporter(env).onTestRunEnd!([moduleOf('a.test.ts', 'failed')], [error], 'failed')
  expect(JSON.parse(readFileSync(env.SLUICE_TEST_REPORT, 'utf8')).failed).toEqual([])
})

it('names no file of a run that was interrupted, so that nothing runs again', async () => {
  const env = { SLUICE_TEST_REPORT: join(folder, 'report.json') }
  await createTotalsReporter(env).onTestRunEnd!([moduleOf('a.test.ts', 'failed')], [], 'interrupted')
  expect(JSON.parse(readFileSync(env.SLUICE_TEST_REPORT, 'utf8')).failed).toEqual([])
})

it('adds up also where the global setup has hidden its variables from the tests', async () => {
  const path = join(folder, 'report.json')
  await end({ SLUICE_TEST_REPORT: path }, moduleOf('a.test.ts', 'passed'), moduleOf('b.test.ts', 'failed'))
  const env: NodeJS.ProcessEnv = { SLUICE_TEST_REPORT: path, SLUICE_TEST_IS_AGAIN: '1' }
  const reporter = createTotalsReporter(env)
  delete env.SLUICE_TEST_REPORT
  delete env.SLUICE_TEST_IS_AGAIN
  await reporter.onTestRunEnd!([moduleOf('b.test.ts', 'passed')], [], 'passed')
  expect(said[1]).toBe('2 passed, 0 failed, 0 skipped')
})
