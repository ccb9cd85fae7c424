import { expect, test } from 'vitest'
import { FAULTS } from '../../faults/list.ts'
import { listNamedTests, readLinked, readPage } from './named-tests.ts'

const page = readPage('reliability.md')
const titles = listNamedTests(page)

test.each(titles)(
  '"%s", by which the page on reliability shows a promise, is a test of %s',
  (title, path) => {
    expect(readLinked(path)).toContain(`'${title}'`)
  },
)

test('every fault shows a promise on the page on reliability', () => {
  expect(titles.length).toBeGreaterThan(10)
  expect(FAULTS.map(({ name }) => name).filter((name) => !page.includes(`\`${name}\``))).toEqual([])
})
