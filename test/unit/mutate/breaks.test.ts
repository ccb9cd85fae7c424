import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { applyBreak, countPlaces } from '../../mutate/break.ts'
import { BREAKS } from '../../mutate/list.ts'

const root = join(import.meta.dirname, '../../..')
const pathOf = (file: string) => join(root, file)

describe('the breaks of `npm run mutate`', () => {
  it('occur once in their files, and change them', () => {
    const untrue = BREAKS.flatMap((one) => {
      const name = `${one.file}: ${one.says}`
      if (!existsSync(pathOf(one.file))) return [`${name}: there is no such file`]
      const text = readFileSync(pathOf(one.file), 'utf8')
      const places = countPlaces(text, one)
      if (places !== 1) return [`${name}: its text stands ${places} times in the file`]
      return applyBreak(text, one) === text ? [`${name}: it changes nothing`] : []
    })
    expect(untrue).toEqual([])
  })

  it('name tests that exist', () => {
    const missing = BREAKS.flatMap(({ tests }) => tests.filter((test) => !existsSync(pathOf(test))))
    expect(missing).toEqual([])
    expect(BREAKS.filter(({ tests }) => tests.length === 0)).toEqual([])
  })

  it('are distinguished by their meaning', () => {
    expect(new Set(BREAKS.map(({ file, says }) => `${file}: ${says}`)).size).toBe(BREAKS.length)
  })
})
