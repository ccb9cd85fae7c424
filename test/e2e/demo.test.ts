import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startProcess } from '../helpers/processes.ts'
import { findRunProcesses, RUN_VARIABLE } from '../helpers/run-processes.ts'

/** The demo's temporary folder: it has to be empty in the end. */
let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'demo-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const start = (ready: RegExp, ...args: string[]) =>
  startProcess({ args: ['scripts/demo.ts', ...args], env: { TMPDIR: folder }, ready })
const findChildren = async () =>
  (await findRunProcesses(process.env[RUN_VARIABLE]!)).filter(({ command }) => command.includes(folder))

// The claims of a whole run are tested from the npm package (npm-package.test.ts).
test('an interrupted demo takes everything with it that it has started', { timeout: 60_000 }, async () => {
  const demo = await start(/jobs of acme accepted/)
  expect(await findChildren()).not.toEqual([])
  demo.kill('SIGINT')
  expect(await demo.exited, demo.output).toEqual({ code: 130, signal: null })
  expect(demo.output).toContain('The demo stopped: interrupted')
  expect(await findChildren()).toEqual([])
  expect(await readdir(folder)).toEqual([])
})
