import { expect, test } from 'vitest'
import { listNamedTests, readLinked, readPage } from './named-tests.ts'

const page = readPage('security.md')
const titles = listNamedTests(page)

test.each(titles)('"%s", by which the page on security shows an answer, is a test of %s', (title, path) => {
  expect(readLinked(path)).toContain(`'${title}'`)
})

test('every threat of the OWASP API Top 10 has an answer, with a test', () => {
  const sections = page.split(/ ## /)
  for (let number = 1; number <= 10; number++) {
    const section = sections.find((text) => text.startsWith(`API${number}: `))
    expect(section, `API${number}`).toMatch(/\]\(\.\.\/test\//)
  }
  expect(titles.length).toBeGreaterThan(40)
})
