import { glob, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Bodies of concurrent tests: from `.concurrent` to the line that closes it at the same indentation. */
function findConcurrentTests(source: string): string[] {
  return [...source.matchAll(/^( *)(?:test|it|describe)\.concurrent[\s\S]*?^\1(?:\}[,)]|\))/gm)].map(
    ([text]) => text,
  )
}

/** A concurrent test that polls by the `expect` of the module instead of the one in its context. */
function isUnbound(text: string): boolean {
  return (
    /\bexpect\s*\.poll\(/.test(text) && !/\bconst \{[^}]*\bexpect\b[^}]*\} = |\(\{[^}]*\bexpect\b/.test(text)
  )
}

// `expect.poll` of the module belongs to the test that began last. When that one has ended,
// every other concurrent test of the file fails with "must be called inside a test".
test('concurrent tests poll by the expect of their own context', async () => {
  const found: string[] = []
  for await (const path of glob('test/**/*.test.ts', { cwd: root, exclude: ['**/node_modules/**'] })) {
    const source = await readFile(`${root}/${path}`, 'utf8')
    if (findConcurrentTests(source).some(isUnbound)) found.push(path)
  }
  expect(found).toEqual([])
})

test.each([
  ["test.concurrent('a', async () => {\n  await expect.poll(f).toBe(1)\n})", true],
  ["test.concurrent('a', async () => {\n  await expect\n    .poll(f).toBe(1)\n}, 9)", true],
  ["test.concurrent('a', async ({ expect }) => {\n  await expect.poll(f).toBe(1)\n})", false],
  ["test('a', async () => {\n  await expect.poll(f).toBe(1)\n})", false],
])('%j polls by another test: %s', (source, isFault) => {
  expect(findConcurrentTests(source).some(isUnbound)).toBe(isFault)
})

// In a cluster, KEYS answers for one node alone: such a test passes or fails by chance there (`keysOf` asks all of
// them).
test('no test asks one node of a cluster alone for its keys', async () => {
  const found: string[] = []
  for await (const path of glob('test/**/*.ts', { cwd: root, exclude: ['**/node_modules/**'] })) {
    if (path === 'test/helpers/redis.ts') continue
    if (/\b(?:redis|admin|client)(?:\(\))?\.keys\(/.test(await readFile(`${root}/${path}`, 'utf8')))
      found.push(path)
  }
  expect(found).toEqual([])
})
