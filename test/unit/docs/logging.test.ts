import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { readPage } from './named-tests.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const paths = ['*.ts', '{api,jobs,services,telemetry,webhooks,workers}/**/*.ts']
const source = globSync(paths, { cwd: root })
  .map((path) => readFileSync(`${root}${path}`, 'utf8'))
  .join('\n')
const page = readPage('logging.md')
const documented = [...page.matchAll(/ \| `([^`]+)` \| (?:debug|info|warn|error) \|/g)].map(
  ([, message]) => message!,
)

test('every line of the log that is documented is written somewhere', () => {
  expect(documented.length).toBeGreaterThan(15)
  // A line of the framework.
  const ours = documented.filter((message) => message !== 'Server listening at …')
  expect(ours.filter((message) => !source.includes(`'${message}'`))).toEqual([])
})

test('every line from info on that says more than an error is documented', () => {
  const written = [...source.matchAll(/log\.(?:info|warn|error)\(([^;]*?), '([^'$]+)'\)/g)]
    .filter(([, members]) => !members!.includes('err: error'))
    .map(([, , message]) => message!)
    // The page describes these in words.
    .filter((message) => !message.includes('these keys hold less than 128 bits'))
  expect(written.length).toBeGreaterThan(8)
  expect(written.filter((message) => !documented.includes(message))).toEqual([])
})
