import { globSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { readProductFiles } from './product-files.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const files = readProductFiles()

/** `scripts.run('cancel', …)`, `scripts('cancel', …)`, `run('cut', …)`. */
const CALL = /\b(?:scripts|run|runAll|settleAll|call|send|change)\(\s*'([a-z-]+)'/g
/** `runScript(redis, scripts.claim, …)`. */
const LOADED = /\brunScript\(\s*[\w.]+,\s*([\w.]+),/g

/** Where the scripts of a folder are called: each call as `file name`. */
function findCalls(folder: string): string[] {
  return [...files]
    .filter(([path]) => path.startsWith(`${folder}/`))
    .flatMap(([path, text]) => {
      const named = [...text.matchAll(CALL)].map((call) => call[1]!)
      const loaded = [...text.matchAll(LOADED)].map((call) => `${path} ${call[1]}`)
      return [...named, ...loaded]
    })
}

const folders = globSync('*/lua', { cwd: root }).map((path) => dirname(path))

test.each(folders)(
  'each script of %s is called in one place, which alone knows the positions of its arguments',
  (folder) => {
    const own = globSync(`${folder}/lua/*.lua`, { cwd: root }).map((path) => basename(path, '.lua'))
    const calls = findCalls(folder).filter((call) => call.includes(' ') || own.includes(call))
    expect(calls.filter((call, index) => calls.indexOf(call) !== index)).toEqual([])
  },
)

test('the check finds the calls', () => {
  const calls = folders.flatMap(findCalls)
  expect(calls).toEqual(
    expect.arrayContaining(['start', 'finish', 'advance', 'webhooks/store.ts scripts.claim']),
  )
  expect(calls.length).toBeGreaterThan(60)
})
