import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { startProcess } from '../helpers/processes.ts'
import { findRunProcesses, RUN_VARIABLE } from '../helpers/run-processes.ts'

const temporaryFolders = async () =>
  (await readdir(tmpdir())).filter((name) => name.startsWith('sluice-demo-'))
const processes = async () =>
  (await findRunProcesses(process.env[RUN_VARIABLE]!)).filter(({ command }) =>
    /sluice-demo|demo\.ts/.test(command),
  )

test('the demo keeps what it claims, prints its table, and leaves nothing behind', {
  timeout: 90_000,
}, async () => {
  const before = await temporaryFolders()
  const demo = await startProcess({ args: ['scripts/demo.ts', '--size', '0.05'], ready: /^Starting/ })
  expect(await demo.exited, demo.output).toEqual({ code: 0, signal: null })
  for (const line of [
    /^acme: chats.* 62 +62 +0 /m,
    /^acme: embeddings.* 101 +100 +1 /m,
    /^coalesced +101 /m,
    /^429s +0 /m,
    /^paid twice +0 /m,
  ]) {
    expect(demo.output).toMatch(line)
  }
  expect(await processes()).toEqual([])
  expect(await temporaryFolders()).toEqual(before)
})

test('an interrupted demo takes everything with it that it has started', { timeout: 60_000 }, async () => {
  const before = await temporaryFolders()
  const demo = await startProcess({ args: ['scripts/demo.ts'], ready: /jobs of acme accepted/ })
  expect(await processes()).not.toEqual([])
  demo.kill('SIGINT')
  expect(await demo.exited, demo.output).toEqual({ code: 130, signal: null })
  expect(demo.output).toContain('The demo stopped: interrupted')
  expect(await processes()).toEqual([])
  expect(await temporaryFolders()).toEqual(before)
})
