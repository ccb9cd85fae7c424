import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { LONG_FILES, putLongFirst } from '../../helpers/sequencer.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const pathOf = (name: string) => `${root}test/${name}.test.ts`

it('knows long files that are there', () => {
  expect(LONG_FILES.filter((name) => !existsSync(pathOf(name)))).toEqual([])
  expect(new Set(LONG_FILES).size).toBe(LONG_FILES.length)
})

it('starts long files early, the longest first, with short ones between them, and each file once', () => {
  const short = Array.from({ length: 400 }, (_, at) => `unit/short-${at}`)
  const names = putLongFirst([...short, ...LONG_FILES.toReversed()], pathOf)
  const isLong = (name: string) => LONG_FILES.includes(name)
  expect(names.filter(isLong)).toEqual(LONG_FILES)
  expect(names.filter((name) => !isLong(name))).toEqual(short)
  expect(names.findLastIndex(isLong)).toBeLessThan(names.length / 2)
  expect(names.slice(1, 4).some(isLong)).toBe(false)
})
