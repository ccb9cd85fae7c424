import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { FAULTS } from '../../faults/list.ts'

const docs = new URL('../../../docs/', import.meta.url)
const page = readFileSync(new URL('reliability.md', docs), 'utf8').replaceAll(/\s+/g, ' ')

/** `[name](file): "title", "title"`, each with the file it links to. */
const titles = [...page.matchAll(/\]\((\.\.\/test\/[^)]+)\): ("[^"]+"(?:, "[^"]+")*)/g)].flatMap(
  ([, path, list]) => list!.split('", "').map((title) => [title.replaceAll('"', ''), path!] as const),
)

test.each(titles)(
  '"%s", by which the page on reliability shows a promise, is a test of %s',
  (title, path) => {
    expect(readFileSync(fileURLToPath(new URL(path, docs)), 'utf8')).toContain(`'${title}'`)
  },
)

test('every fault shows a promise on the page on reliability', () => {
  expect(titles.length).toBeGreaterThan(10)
  expect(FAULTS.map(({ name }) => name).filter((name) => !page.includes(`\`${name}\``))).toEqual([])
})
